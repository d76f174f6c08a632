// SPDX-License-Identifier: Apache-2.0
// `planish report`: a page with the curves of training runs.
#include "train/report.h"

#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "cli/verbs.h"

namespace planish {
namespace {

namespace fs = std::filesystem;

class ReportVerb : public Verb {
 public:
  const char* name() const override { return "report"; }
  const char* group() const override { return "measure"; }
  const char* summary() const override {
    return "one HTML page with the curves, events and samples of training runs";
  }
  const char* examples() const override {
    return "  planish report my-run\n  planish report bf16-run fp8-run -o both.html";
  }
  void Declare(OptionSet* options) override {
    options->Positional("runs", &runs_, "run folders, or log.jsonl files; several are overlaid",
                        true);
    options->Text("-o,--output", &output_, "HTML file; default: RUN/report.html of the first run");
    options->Text("--title", &title_, "of the page; default: the names of the runs");
  }

  ExitCode Run(const OptionSet&) override {
    std::vector<ReportRun> runs;
    std::set<std::string> names;
    for (const std::string& path : runs_) {
      ReportRun run{.name = {}, .log = ReadRunLog(path)};
      run.name = NameOf(run.log, path);
      // Runs of one recipe have one name; their folders tell them apart.
      if (names.contains(run.name)) run.name += fmt::format(" ({})", FolderOf(path));
      for (int i = 2; !names.insert(run.name).second; ++i)
        run.name = fmt::format("{} #{}", FolderOf(path), i);
      if (run.log.bad_lines > 0)
        LogWarning("{}: {} lines could not be read", run.log.path, run.log.bad_lines);
      runs.push_back(std::move(run));
    }
    const std::string output =
        !output_.empty() ? output_
                         : (fs::path(runs[0].log.path).parent_path() / "report.html").string();
    WriteFile(output, ReportHtml(runs, Title(runs)));
    LogInfo("wrote {}", output);
    return ExitCode::kOk;
  }

 private:
  static std::string FolderOf(const std::string& path) {
    const fs::path absolute = fs::absolute(path).lexically_normal();
    const fs::path folder = IsDirectory(path) ? absolute : absolute.parent_path();
    return folder.has_filename() ? folder.filename().string()
                                 : folder.parent_path().filename().string();
  }
  static std::string NameOf(const RunLog& log, const std::string& path) {
    return !log.starts.empty() && !log.starts.back().name.empty() ? log.starts.back().name
                                                                  : FolderOf(path);
  }
  std::string Title(const std::vector<ReportRun>& runs) const {
    if (!title_.empty()) return title_;
    std::string title;
    for (const ReportRun& run : runs) title += (title.empty() ? "" : " and ") + run.name;
    return title;
  }

  std::vector<std::string> runs_;
  std::string output_, title_;
};

}  // namespace

std::unique_ptr<Verb> MakeReport() { return std::make_unique<ReportVerb>(); }

}  // namespace planish
