// SPDX-License-Identifier: Apache-2.0
// The rules of JSON itself, shared by what is compiled from schemas. White space between tokens is free, but no more than 20
// bytes in a row, and a number has at most 20 digits in each of its parts: models loop there.
#pragma once

#include <string_view>

#include "infer/grammar.h"

namespace planish {

class JsonRules {
 public:
  explicit JsonRules(GrammarBuilder* builder) : builder_(builder) {}
  GrammarBuilder& builder() { return *builder_; }

  int32_t Space();           // 0 to 20 bytes of white space
  int32_t Character();       // of a string, escapes included
  int32_t PlainCharacter();  // of a string, without escapes
  int32_t String();
  int32_t Number();
  int32_t Integer();
  int32_t Value();   // anything
  int32_t Object();  // any object
  int32_t Array();

  // A string of min to max characters.
  int32_t StringOf(uint32_t min, uint32_t max);
  // From `from`: one character of these as it stands inside a JSON string, so that '"', '\\' and controls are escaped.
  void Escaped(int32_t from, const std::vector<CodeRange>& ranges, int32_t to);
  // An integer in [low, high].
  int32_t IntegerIn(int64_t low, int64_t high);
  int32_t Digits(int32_t from, int min, int max);  // the state after them

  // From `from`: a list in brackets, `items` after another, then `rest` (or none if negative) up to max in all.
  int32_t List(const std::vector<int32_t>& items, int32_t rest, uint32_t min, uint32_t max);
  int32_t Spaced(int32_t from, std::string_view text);  // text, then white space

 private:
  int32_t Lazily(int32_t* rule, void (JsonRules::*make)(int32_t));
  void MakeSpace(int32_t rule);
  void MakeCharacter(int32_t rule);
  void MakePlainCharacter(int32_t rule);
  void MakeString(int32_t rule);
  void MakeNumber(int32_t rule);
  void MakeInteger(int32_t rule);
  void MakeValue(int32_t rule);
  void MakeObject(int32_t rule);
  void MakeArray(int32_t rule);
  void DigitsUpTo(int32_t from, std::string_view high, int32_t to);
  void DigitsFrom(int32_t from, std::string_view low, int32_t to);
  void DigitsBetween(int32_t from, std::string_view low, std::string_view high, int32_t to);
  void Natural(int32_t from, uint64_t low, uint64_t high, int32_t to);

  GrammarBuilder* builder_;
  int32_t space_ = -1, character_ = -1, plain_ = -1, string_ = -1, number_ = -1, integer_ = -1,
          value_ = -1, object_ = -1, array_ = -1;
};

}  // namespace planish
