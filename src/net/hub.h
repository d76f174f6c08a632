// SPDX-License-Identifier: Apache-2.0
// A model hub that speaks Hugging Face's API: what files a model has, and bringing them here, resumed and checked. The token
// goes to the hub itself only, never to the hosts that it redirects to.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace planish {

struct HubFile {
  std::string path;  // in the repository; no "..", never absolute
  uint64_t size = 0;
  std::string sha256;    // of large files; else empty
  std::string git_blob;  // of the others (base/git_blob.h); may be empty
};

struct HubModel {
  std::string name, commit;
  std::vector<HubFile> files;
};

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;          // may be empty
  std::string ca_file;        // as in HttpClientOptions
  int retries = 5;            // of a download that breaks off, each after a longer wait
  double retry_wait_s = 0.5;  // before the first
  double silence_s = 60;
};

class Hub {
 public:
  explicit Hub(HubOptions options) : options_(std::move(options)) {}

  // name: "owner/model"; revision: branch, tag or commit. Error(kUsage) for a name that is none, Error(kNetwork) for what
  // the hub does not have or does not give; names of files that would leave the folder are errors.
  HubModel Find(const std::string& name, const std::string& revision) const;

  // Writes the file to `to`, going on where an earlier try stopped (TO.part). A file that is there and right is left
  // alone. on_bytes(done) is called as bytes come. Error(kNetwork) when the hub gives up or the content is not what the
  // hub says, twice; Error(kLocked) if another process writes it.
  void Fetch(const HubModel& model, const HubFile& file, const std::string& to,
             const std::function<void(uint64_t done)>& on_bytes) const;

 private:
  void Download(const std::string& target, const HubFile& file, const std::string& part,
                const std::function<void(uint64_t)>& on_bytes) const;

  HubOptions options_;
};

// Which files of a model planish wants: of a folder model its weights, configuration, tokenizer, template, licence; of GGUF
// files the one that `quantization` names ("Q4_K_M", any case; or the only one), with all parts of its split.
// Error(kUsage) lists the choices.
std::vector<HubFile> SelectModelFiles(const HubModel& model, const std::string& quantization);

}  // namespace planish
