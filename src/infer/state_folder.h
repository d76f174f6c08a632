// SPDX-License-Identifier: Apache-2.0
// States of a prefix cache in files, so that they survive eviction and restarts. A file is found again only by the same model in
// the same arithmetic (fingerprint) and used only if its ids are those asked for, one by one; what is damaged, foreign or of an
// older version is deleted. Format: docs/formats.md. Files are written under another name, flushed and renamed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "infer/state_origin.h"
#include "model/state_memory.h"

namespace planish {

// Of a model as it is run: shapes, types and samples of its parameters, arithmetic, types of states, instruction set. 64 digits.
// `ssm`: type in which SSM states are kept, if not the model's.
std::string StateFingerprint(Model* model, std::optional<DType> ssm = std::nullopt);

class StateFolder {
 public:
  struct Stats {
    uint64_t bytes = 0;  // of all files
    size_t files = 0;
    uint64_t written = 0, loaded = 0, deleted = 0, failed = 0;
  };
  struct Stored {
    std::string salt;
    std::vector<int32_t> ids;
    StateOrigin origin;
    uint64_t bytes = 0;     // of the file
    uint64_t last_use = 0;  // order of use, the oldest first at the start
  };

  // Makes `path` if there is none and looks through it. Error if it cannot be made or read.
  // `ssm` as for the fingerprint.
  StateFolder(const Model* model, std::string path, std::string fingerprint, uint64_t max_bytes,
              std::optional<DType> ssm = std::nullopt);

  // What files hold, by name.
  const std::map<std::string, Stored>& files() const { return files_; }
  bool Has(std::string_view salt, std::span<const int32_t> ids, const StateOrigin& origin) const;
  // Makes room by deleting the files that were not used for longest. False, with a warning, if it could not be written: a full
  // disk costs speed, never a request.
  bool Write(std::string_view salt, std::span<const int32_t> ids, const StateOrigin& origin,
             const SequenceState& state);
  // The state in a file; none, and the file is gone, if it is not what it says.
  std::optional<SequenceState> Load(const std::string& name);

  const Stats& stats() const { return stats_; }

 private:
  std::string NameOf(std::string_view salt, std::span<const int32_t> ids,
                     const StateOrigin& origin) const;
  void LookThrough();
  void Delete(const std::string& name);

  const Model* model_;
  std::optional<DType> ssm_;
  StateSize size_;
  std::string path_, fingerprint_;
  uint64_t max_bytes_;
  uint64_t clock_ = 0;
  std::map<std::string, Stored> files_;  // by name
  Stats stats_;
};

}  // namespace planish
