// SPDX-License-Identifier: Apache-2.0
// For the grammar's tests and bench: a small vocabulary, random schemas, and a model that writes at random under the mask.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "infer/answer_grammar.h"
#include "infer/grammar_hook.h"
#include "text/byte_level.h"

namespace planish {

// 256 byte tokens, pieces that cross the borders of JSON tokens and of characters, and an end token.
inline std::shared_ptr<const Tokenizer> GrammarTokenizer() {
  GgufVocabulary vocabulary;
  vocabulary.pre = "llama-bpe";
  const auto add = [&](std::string_view bytes) {
    std::string text;
    AppendByteLevel(bytes, &text);
    if (std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), text) !=
        vocabulary.tokens.end())
      return;
    vocabulary.tokens.push_back(text);
    vocabulary.types.push_back(1);
  };
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    add({&c, 1});
  }
  for (const char* piece :
       {"{\"",   "\":",      "\": ",         "\": \"",   "\",",         "\", \"",     "\"}",
        "\"}}",  "\"]",      "}]",           "]}",       "}}",          "[]",         "{}",
        "[[",    "[{\"",     ", ",           ",\n  ",    "  ",          "\n\n",       "\n    ",
        "true",  "false",    "null",         "ab",       "abc",         "name",       " a",
        " the",  "123",      "12",           "00",       "-1",          "0.",         "e+",
        "\\\"",  "\\n",      "\\u",          "\\u00",    "\xC3\xA9",    "\xC3\xA9\"", "\xE2\x82",
        "\xAC",  "\xF0\x9F", "\xF0\x9F\x98", "\x98\x80", ">\n\n",       ">\n{",       "><",
        "</",    "think",    "</think",      "<TOOL",    "CALL",        "TOOLCALL>",  ">[",
        ">[{\"", "tool",     "_call",        "\"name",   "arguments\"", "<",          "function",
        "=",     "\n</",     "parameter"})
    add(piece);
  vocabulary.tokens.push_back("<|end|>");
  vocabulary.types.push_back(3);
  return Tokenizer::FromGguf(vocabulary, "test.gguf");
}
inline int32_t EndId(const Tokenizer& tokenizer) { return tokenizer.Find("<|end|>").value(); }

// Schemas of everything that is supported, as deep as `depth`.
inline Json RandomSchema(Random* random, int depth) {
  const auto object = [](const char* text) { return ParseJson(text, "schema"); };
  Json schema = Json::MakeObject();
  const uint64_t kind = random->Below(depth > 0 ? 15 : 8);
  const auto small = [&] { return static_cast<int64_t>(random->Below(6)); };
  switch (kind) {
    case 0: {
      schema.Set("type", "string");
      if (random->Below(2) == 0) return schema;
      const int64_t min = small();
      schema.Set("minLength", min);
      schema.Set("maxLength", min + small() * 4);
      return schema;
    }
    case 1: {
      schema.Set("type", "integer");
      const int64_t low = static_cast<int64_t>(random->Below(4000)) - 2000;
      if (random->Below(2) == 0)
        schema.Set(random->Below(2) == 0 ? "minimum" : "exclusiveMinimum", low);
      if (random->Below(2) == 0)
        schema.Set(random->Below(2) == 0 ? "maximum" : "exclusiveMaximum",
                   low + 2 + static_cast<int64_t>(random->Below(100'000)));
      return schema;
    }
    case 2:
      schema.Set("type", random->Below(2) == 0 ? "number" : "boolean");
      return schema;
    case 3:
      return object(random->Below(2) == 0 ? R"({"type":"null"})" : R"({"const":{"a":[1,"x\"y"]}})");
    case 4:
      return object(R"({"enum":["red","green\n",5,-1.5,null,true,[1,{"k":"v"}]]})");
    case 5: {
      static constexpr const char* kPatterns[] = {"^[a-z]{2,5}$",
                                                  "^(foo|ba[rz])+$",
                                                  "[0-9]{3}",
                                                  "^\\w+@\\w+\\.(com|org)$",
                                                  "^.{1,4}$",
                                                  "^[^x]*x?$",
                                                  "^\\d{1,3}(\\.\\d{1,3}){3}$",
                                                  "^a?b*c+\"\\\\$",
                                                  "\\S\\s\\S$",
                                                  "^(a|b|)(c|\u00e9)$"};
      schema.Set("type", "string");
      schema.Set("pattern", kPatterns[random->Below(std::size(kPatterns))]);
      return schema;
    }
    case 6: {
      static constexpr const char* kFormats[] = {"date", "date-time", "uuid"};
      schema.Set("type", "string");
      schema.Set("format", kFormats[random->Below(3)]);
      return schema;
    }
    case 7:
      return object(random->Below(2) == 0
                        ? R"({"type":["string","null","integer"],"maxLength":3,"minimum":5})"
                        : "{}");
    case 8: {
      schema.Set("type", "array");
      schema.Set("items", RandomSchema(random, depth - 1));
      if (random->Below(2) == 0) {
        const int64_t min = static_cast<int64_t>(random->Below(3));
        schema.Set("minItems", min);
        schema.Set("maxItems", min + small());
      }
      return schema;
    }
    case 9: {
      schema.Set("type", "array");
      Json prefix = Json::MakeArray();
      for (uint64_t n = 1 + random->Below(3); n > 0; --n)
        prefix.Append(RandomSchema(random, depth - 1));
      schema.Set("prefixItems", prefix);
      if (random->Below(2) == 0)
        schema.Set("items", random->Below(2) == 0 ? Json(false) : RandomSchema(random, depth - 1));
      return schema;
    }
    case 10: {
      Json list = Json::MakeArray();
      for (uint64_t n = 1 + random->Below(3); n > 0; --n)
        list.Append(RandomSchema(random, depth - 1));
      schema.Set("anyOf", list);
      return schema;
    }
    case 11:
      return object(
          R"({"type":"object","properties":{"value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["value"]})");
    case 12: {
      Json parts = Json::MakeArray();
      parts.Append(object(
          R"({"type":"object","properties":{"id":{"type":"integer","minimum":0},"tag":{"type":"string"}},"required":["id"]})"));
      parts.Append(object(
          R"({"properties":{"tag":{"maxLength":4},"id":{"maximum":99}},"required":["tag"]})"));
      schema.Set("allOf", parts);
      return schema;
    }
    default: {
      schema.Set("type", "object");
      Json properties = Json::MakeObject(), required = Json::MakeArray();
      for (uint64_t n = random->Below(5); n > 0; --n) {
        static constexpr const char* kNames[] = {"a",   "b",   "ab", "na\"me", "\u00fcber",
                                                 "x y", "abc", "",   "k/~"};
        const std::string name = kNames[random->Below(std::size(kNames))];
        properties.Set(name, RandomSchema(random, depth - 1));
        if (random->Below(2) == 0) required.Append(name);
      }
      schema.Set("properties", properties);
      schema.Set("required", required);
      switch (random->Below(4)) {
        case 0:
          schema.Set("additionalProperties", false);
          break;
        case 1:
          schema.Set("additionalProperties", RandomSchema(random, 0));
          break;
        case 2:
          schema.Set("additionalProperties", true);
          break;
        default:
          break;
      }
      return schema;
    }
  }
}
inline Json RandomRootSchema(Random* random, int depth) {
  Json schema = RandomSchema(random, depth);
  schema.Set(
      "$defs",
      ParseJson(
          R"({"node":{"type":"object","properties":{"value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["value"],"additionalProperties":false}})",
          "defs"));
  return schema;
}

// Plays engine and model: at each step one of the tokens the hook allows, at random; after `patience` tokens those that close
// what is open come more often, and so does the text `closing`. Empty text and false in `*ended` if it never came to an end.
struct RandomAnswer {
  std::string text;
  size_t tokens = 0;
  bool ended = false;
};
inline RandomAnswer WriteAtRandom(GrammarHook* hook, const Tokenizer& tokenizer, Random* random,
                                  size_t patience, size_t most, std::string_view closing = {}) {
  RandomAnswer answer;
  size_t at_closing = 0;
  const int32_t end = EndId(tokenizer);
  TokenHook::Action action = hook->Begin();
  while (answer.tokens < most) {
    if (!action.forced.empty()) {
      const std::vector<int32_t> forced = action.forced;
      for (const int32_t id : forced) {
        answer.text += tokenizer.TokenBytes(id);
        ++answer.tokens;
        action = hook->OnToken(id);
      }
      continue;
    }
    if (action.stop || action.mask == nullptr) break;
    std::vector<int32_t> allowed;
    for (size_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if (action.mask->Allows(id)) allowed.push_back(static_cast<int32_t>(id));
    }
    const bool may_end = action.mask->Allows(static_cast<size_t>(end));
    if (may_end && (answer.tokens > patience || random->Below(3) == 0)) {
      answer.ended = true;
      return answer;
    }
    int32_t id = allowed[random->Below(allowed.size())];
    if (id == end) {
      answer.ended = true;
      return answer;
    }
    const auto allows = [&](const char* piece) {
      const int32_t one = tokenizer.Find(piece).value();
      if (action.mask->Allows(static_cast<size_t>(one))) id = one;
    };
    if (answer.tokens > patience && at_closing < closing.size()) {
      allows(std::string(1, closing[at_closing++]).c_str());
    } else if (answer.tokens > patience || random->Below(3) == 0) {
      // What closes, or any byte of ASCII: a pattern may ask for something else.
      static constexpr const char* kClosers[] = {"\"", "}", "]", ":", "null", "0"};
      if (random->Below(4) != 0) {
        allows(kClosers[random->Below(std::size(kClosers))]);
      } else {
        allows(std::string(1, static_cast<char>(0x20 + random->Below(0x5F))).c_str());
      }
      if (at_closing == closing.size() && random->Below(8) == 0) at_closing = 0;
    }
    answer.text += tokenizer.TokenBytes(id);
    ++answer.tokens;
    action = hook->OnToken(id);
  }
  return answer;
}

}  // namespace planish
