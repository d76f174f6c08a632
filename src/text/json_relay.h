// SPDX-License-Identifier: Apache-2.0
// Passes one JSON value through, byte by byte, and repairs on the way what models get wrong: trailing commas, single
// quotes, Python's True/False/None, raw control characters and unknown escapes in strings, a closing bracket that was
// left out. Valid JSON comes out unchanged, white space included. A pure function of the bytes, however they are cut.
#pragma once

#include <string>
#include <string_view>

namespace planish {

class JsonRelay {
 public:
  enum class Status {
    kMore,
    kDone,        // the value ended with this byte
    kDoneBefore,  // it ended before this byte, which was not consumed
    kBroken,      // this byte, not consumed, cannot be part of a value
  };
  // Appends what is decided to `out`.
  Status Push(char c, std::string* out);
  // At the end of the text, for a number or a literal: kDone if the value is complete, else kBroken.
  Status Finish(std::string* out);
  bool started() const { return expect_ != Expect::kValue || !stack_.empty(); }

 private:
  enum class Expect {
    kValue,
    kValueOrEnd,
    kKey,
    kKeyOrEnd,
    kColon,
    kCommaOrEnd,
    kString,
    kScalar,
    kDone,
  };
  Status InString(char c, std::string* out);
  Status Close(char c, std::string* out);
  bool EndScalar(std::string* out);
  Status ValueEnded();
  void Release(std::string* out);

  Expect expect_ = Expect::kValue;
  std::string stack_;  // open brackets
  std::string held_;   // a comma and what white space follows it, or the scalar so far
  char quote_ = '"';
  bool is_key_ = false;
  bool escaped_ = false;
  int hex_left_ = 0;  // digits of a \u escape still to come
  std::string hex_;
};

// Decodes the body of a JSON string incrementally: escapes become bytes, the closing quote ends it.
class JsonStringDecoder {
 public:
  // False once the closing quote was consumed. Lone surrogates become U+FFFD.
  bool Push(char c, std::string* out);

 private:
  bool escaped_ = false;
  int hex_left_ = 0;
  char32_t code_ = 0, high_ = 0;
};

}  // namespace planish
