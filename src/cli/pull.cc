// SPDX-License-Identifier: Apache-2.0
// `planish pull`: a model from a hub by its name. HF_ENDPOINT and HF_TOKEN are respected.
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/verbs.h"
#include "net/hub.h"

namespace planish {
namespace {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

class PullVerb : public Verb {
 public:
  const char* name() const override { return "pull"; }
  const char* group() const override { return "run"; }
  const char* summary() const override {
    return "bring a model from a hub by its name; resumed, checked";
  }
  const char* examples() const override {
    return "  planish pull nvidia/NVIDIA-Nemotron-Nano-9B-v2 -o nano-9b\n  planish pull "
           "OWNER/NAME-GGUF:Q4_K_M";
  }
  void Declare(OptionSet* options) override {
    options->Positional("name", &names_, "OWNER/NAME, or OWNER/NAME:TYPE for a GGUF file of it",
                        /*required=*/true);
    options->Group("Output");
    options->Text("-o,--output", &output_, "folder; default: NAME");
    options->Group("Hub");
    options->Text("--revision", &revision_, "branch, tag or commit");
    options->Text("--endpoint", &endpoint_,
                  "the hub's address; default: HF_ENDPOINT, else https://huggingface.co");
    options->Text("--ca-file", &ca_file_, "PEM file of authorities; default: the system's");
    options->Flag("--list", &lists_, "only print what would be brought");
  }

  ExitCode Run(const OptionSet&) override {
    if (names_.size() != 1) throw UsageError("expected one name, found {}", names_.size());
    const size_t colon = names_[0].find(':');
    const std::string name = names_[0].substr(0, colon);
    const std::string type = colon == std::string::npos ? "" : names_[0].substr(colon + 1);
    if (colon != std::string::npos && type.empty())
      throw UsageError("{}: a type is missing after ':'", Quoted(names_[0]));
    HubOptions options;
    options.ca_file = ca_file_;
    options.token = FromEnvironment("HF_TOKEN");
    for (const std::string& given : {FromEnvironment("HF_ENDPOINT"), endpoint_}) {
      if (!given.empty()) options.endpoint = given;
    }
    while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
    const Hub hub(options);
    const HubModel model = hub.Find(name, revision_);
    const std::vector<HubFile> files = SelectModelFiles(model, type);
    if (lists_) {
      for (const HubFile& file : files) fmt::print("{}\t{}\n", file.size, file.path);
      return ExitCode::kOk;
    }
    const std::string folder = output_.empty() ? name.substr(name.rfind('/') + 1) : output_;
    const std::string weights = Bring(hub, model, files, folder);
    fmt::print("{}\n", weights);
    return ExitCode::kOk;
  }

 private:
  // What `-m` takes: the folder, or the first GGUF file.
  static std::string Bring(const Hub& hub, const HubModel& model, const std::vector<HubFile>& files,
                           const std::string& folder) {
    MakeDirectories(folder);
    uint64_t total = 0, before = 0;
    for (const HubFile& file : files) total += file.size;
    LogInfo("{} at {}: {} files, {:.1f} MiB", model.name, model.commit.substr(0, 12), files.size(),
            static_cast<double>(total) / (1 << 20));
    std::string gguf;
    {
      Progress progress("pull", std::max<uint64_t>(1, total >> 20), "MiB");
      for (const HubFile& file : files) {
        const std::string base = file.path.substr(file.path.rfind('/') + 1);
        const std::string to = (std::filesystem::path(folder) / base).string();
        hub.Fetch(model, file, to,
                  [&](uint64_t done) { progress.Update((before + done) >> 20, base); });
        before += file.size;
        if (gguf.empty() && base.ends_with(".gguf")) gguf = to;
      }
    }
    return gguf.empty() ? folder : gguf;
  }

  std::vector<std::string> names_;
  std::string output_, revision_ = "main", endpoint_, ca_file_;
  bool lists_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakePull() { return std::make_unique<PullVerb>(); }

}  // namespace planish
