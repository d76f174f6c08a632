// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share: the golden data, temporary folders, bytes of hand-made files
// and the check that a bad file gives a proper Error. Included by tests only.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "tensor/tensor.h"

namespace planish {

inline std::string GoldenFolder() {
  const char* folder = std::getenv("PLANISH_GOLDEN");
  return folder != nullptr && *folder != '\0' ? folder : PLANISH_SOURCE_DIR "/tests/golden";
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "planish-XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

template <typename T>
void AppendRaw(std::string* out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

inline std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

inline std::string ReadWhole(const std::string& path) { return ReadFile(path, uint64_t{1} << 30); }

// Runs `read` on a hostile input: it must throw a bad-file Error of one line that contains all of
// `parts`, and be quick about it.
inline void ExpectBadFile(const std::function<void()>& read,
                          const std::vector<std::string>& parts) {
  const std::clock_t begin = std::clock();  // of this process: the machine may be busy
  std::string message;
  try {
    read();
    ADD_FAILURE() << "accepted, expected an error with '" << parts.back() << "'";
    return;
  } catch (const Error& error) {
    message = error.what();
    EXPECT_EQ(error.code(), ExitCode::kBadFile) << message;
  }
#ifdef PLANISH_DEBUG
  constexpr double kLimit = 10.0;  // sanitizers slow the code down
#else
  constexpr double kLimit = 1.0;
#endif
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, kLimit) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 1000u) << message;
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
  }
}

inline void ExpectSameFloats(std::span<const float> found, std::span<const float> expected,
                             const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i] != found[i] && expected[i] != expected[i]) continue;  // NaN is as good as NaN
    ASSERT_EQ(found[i], expected[i]) << what << " at " << i;           // and -0 equals 0
  }
}

inline std::vector<float> ToFloats(const TensorView& view) {
  const Tensor tensor = Tensor::ToF32(view);
  return {tensor.f32(), tensor.f32() + tensor.elements()};
}

}  // namespace planish
