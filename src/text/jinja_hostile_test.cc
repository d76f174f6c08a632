// SPDX-License-Identifier: Apache-2.0
// Templates written to hurt: endless work, huge values, deep nesting, host access, overflow. Every
// one must end soon, in a text or in Error(kBadFile), never in a crash. The groups T1..T10 are
// those of the reliability specification.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "base/error.h"
#include "base/limits.h"
#include "text/chat_template.h"

namespace planish {
namespace {

Json Message(std::string_view role, Json content) {
  Json message = Json::MakeObject();
  message.Set("role", Json(role));
  message.Set("content", std::move(content));
  return message;
}

ChatInput Input() {
  ChatInput input;
  input.messages.Append(Message("user", "hello"));
  return input;
}

// The error's text, or "" if the template rendered.
std::string ErrorOf(const std::string& source, const ChatInput& input = Input(),
                    std::string* text = nullptr) {
  try {
    const std::string out = ChatTemplate::Parse(source, "hostile")->Render(input).Text();
    EXPECT_LE(out.size(), limits::kTemplateOutputBytes);
    if (text != nullptr) *text = out;
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    EXPECT_TRUE(std::string(error.what()).starts_with("hostile: template")) << error.what();
    return error.what();
  }
}

std::string Times(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

struct Case {
  std::string source, expected;  // part of the error
};

TEST(JinjaHostile, EveryRefusedTemplateGivesOneClearError) {
  const std::string kSteps = "takes more than", kDeep = "nested deeper", kUnsafe = "unsafe",
                    kBig = "Range too big";
  const std::vector<Case> cases = {
      // T1 endless work
      {"{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}{% endfor "
       "%}{% endfor %}{% endfor %}",
       kSteps},
      {"{% for a in range(99999) %}{% for b in range(99999) %}{% set x = a * b %}{% endfor %}{% "
       "endfor %}",
       ""},
      {"{% macro f() %}{% for i in range(1000) %}{{ i }}{% endfor %}{% endmacro %}{% for i in "
       "range(100000) %}{{ f() }}{% endfor %}",
       ""},
      {"{% set s = 'ab' * 500000 %}{% for i in range(100000) %}{% if s == s ~ 'x' or 'q' in s %}{% "
       "endif %}{% endfor %}",
       ""},
      {"{% set s = 'é' * 500000 %}{% for i in range(100000) %}{% set x = s[i] %}{% endfor %}", ""},
      {"{% set s = 'aé' * 250000 %}{% for i in range(100000) %}{% set x = s | upper %}{% endfor %}",
       ""},
      {"{% set l = range(100000) | list %}{% for i in l %}{% if -1 in l %}{% endif %}{% endfor %}",
       kSteps},
      {"{% set l = range(100000) | list %}{% for i in l %}{% set x = l | sort %}{% endfor %}", ""},
      {"{% set l = range(99999) | map('string') | list %}{% for i in l %}{% set x = l | join %}{% "
       "endfor %}",
       ""},
      // T2 ranges
      {"{{ range(10 ** 18) }}", kBig},
      {"{{ range(0, -1000000, -1) }}", kBig},
      {"{{ range(1, 10, 0) }}", "must not be zero"},
      {"{{ range(-(2 ** 126), 2 ** 126) }}", kBig},
      {"{{ range(-(2 ** 126) * 2, 2 ** 126) }}", kBig},
      {"{{ range(2 ** 126, -(2 ** 126), -1) }}", kBig},
      // T3 growing texts and lists
      {"{{ 'a' * 10 ** 9 }}", "longer than"},
      {"{{ 'a' * 2 ** 100 }}", "longer than"},
      {"{{ [0] * 10 ** 9 }}", "more than"},
      {"{% set ns = namespace(s='abcdefgh') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s "
       "%}{% endfor %}",
       "grows beyond"},
      {"{% set ns = namespace(s='abcdefgh') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s "
       "%}{% endfor %}",
       "grows beyond"},
      {"{% set ns = namespace(s='abcdefgh') %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] | "
       "join %}{% endfor %}",
       "grows beyond"},
      {"{% set ns = namespace(s='abcdefgh') %}{% for i in range(60) %}{% set ns.s = "
       "ns.s.replace('a', ns.s) %}{% endfor %}",
       "grows beyond"},
      {"{% set ns = namespace(s='abcdefgh') %}{% for i in range(60) %}{% set ns.s = '%s%s' % "
       "(ns.s, ns.s) %}{% endfor %}",
       "grows beyond"},
      {"{% set ns = namespace(s='abcdefgh') %}{% for i in range(60) %}{% set ns.s = "
       "'{0}{0}'.format(ns.s) %}{% endfor %}",
       "grows beyond"},
      {"{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% "
       "endfor %}",
       ""},
      {"{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
       "endfor %}{{ ns.l }}",
       ""},
      {"{% for i in range(100000) %}{{ 'a' * 1000 }}{% endfor %}", "grows beyond"},
      {"{{ 'a'.center(10 ** 12) }}", "longer than"},
      {"{{ 'a'.ljust(2 ** 120) }}", "longer than"},
      {"{{ 'x'.zfill(10 ** 10) }}", "longer than"},
      {"{{ '\\t'.expandtabs(10 ** 15) }}", "too large"},
      {"{% set ns = namespace(l=[]) %}{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{% "
       "set ns.l = ns.l + [s | upper] %}{% endfor %}",
       ""},
      {"{{ 'a' | indent(10 ** 12, true) }}", "longer than"},
      {"{{ [1] | batch(10 ** 12, 0) | list }}", "too large"},
      {"{{ [1] | slice(10 ** 12) | list }}", "too many"},
      // T4 recursion and nesting
      {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", kDeep},
      {"{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
       kDeep},
      {"{% macro f(n) %}{% for i in [1, 2] %}{{ f(n + 1) }}{% endfor %}{% endmacro %}{{ f(0) }}",
       kDeep},
      {"{% macro f() %}{{ caller() }}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{% "
       "call f() %}x{% endcall %}",
       "No caller defined"},
      {"{% macro f() %}{% call f() %}x{% endcall %}{{ caller() }}{% endmacro %}{% call f() %}x{% "
       "endcall %}",
       kDeep},
      {"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", kDeep},
      {Times("{% if 1 %}", 10000) + Times("{% endif %}", 10000), kDeep},
      {Times("{% for x in [1] %}", 65) + Times("{% endfor %}", 65), kDeep},
      {"{{ " + Times("(", 10000) + "1" + Times(")", 10000) + " }}", kDeep},
      {"{{ " + Times("[", 70) + Times("]", 70) + " }}", kDeep},
      {"{{ " + Times("not ", 10000) + "1 }}", kDeep},
      {"{{ " + Times("-", 10000) + "1 }}", kDeep},
      {"{{ 1" + Times(" + 1", 10000) + " }}", kDeep},
      {"{{ 'a'" + Times(" | upper", 10000) + " }}", kDeep},
      {"{{ a" + Times(".b", 10000) + " }}", kDeep},
      {"{{ a" + Times("()", 10000) + " }}", kDeep},
      {"{{ a" + Times("[a", 10000) + Times("]", 10000) + " }}", kDeep},
      {"{{ 1" + Times(" if 1 else 1", 10000) + " }}", kDeep},
      {"{{ 1" + Times(" if 1", 10000) + " }}", kDeep},
      {"{{ 1" + Times(" ** 1", 10000) + " }}", kDeep},
      {"{{ " + Times("{1:", 100) + "1" + Times("}", 100) + " }}", kDeep},
      {"{{ [1] | map('map', " + Times("'map', ", 1000) + "'upper') | list | string }}", ""},
      {"{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor "
       "%}{{ ns.l }}",
       kDeep},
      {"{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor "
       "%}{{ ns.l | tojson }}",
       kDeep},
      {"{% set ns = namespace(l=[], k=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% "
       "set ns.k = [ns.k] %}{% endfor %}{{ ns.l == ns.k }}",
       kDeep},
      {"{% set ns = namespace(l=(1,)) %}{% for i in range(9999) %}{% set ns.l = (ns.l,) %}{% "
       "endfor %}{{ {ns.l: 1} }}",
       kDeep},
      {"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", kDeep},
      {"{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a }}", kDeep},
      // T5 host access
      {"{{ ''.__class__.__mro__ }}", kUnsafe},
      {"{{ messages.__class__.__base__ }}", kUnsafe},
      {"{{ messages.append(1) }}", kUnsafe},
      {"{{ messages[0].update({'role': 'system'}) }}", kUnsafe},
      {"{{ messages[0].pop('role') }}", kUnsafe},
      {"{{ ''['__class__']['__mro__'] }}", kUnsafe},
      {"{{ '{0.__class__.__mro__}'.format(1) }}", kUnsafe},
      {"{{ ''.format_map({}) }}", kUnsafe},
      {"{{ ('' | attr('__class__')).x }}", kUnsafe},
      {"{{ range.__globals__.x }}", "has no attribute"},
      {"{{ raise_exception.__globals__['os'] }}", "has no attribute"},
      {"{{ self.x() }}", "undefined"},
      {"{{ cycler('a').__init__.__globals__ }}", kUnsafe},
      {"{{ joiner().__init__.x }}", kUnsafe},
      {"{{ namespace().__class__.x }}", kUnsafe},
      {"{{ lipsum() }}", "undefined"},
      {"{{ cycler(*range(100000)).next.__self__.x }}", "has no attribute"},
      {"{{ config.x }}", "undefined"},
      // T6 formats
      {"{{ '%1000000000d' % 1 }}", "larger than"},
      {"{{ '{:1000000000}'.format(1) }}", "larger than"},
      {"{{ '%.999999999f' % 1 }}", "larger than"},
      {"{{ '{:.99999999999999999999f}'.format(1.0) }}", "larger than"},
      {"{{ '%n' % 1 }}", "unsupported"},
      {"{{ '%s%s%s' % 1 }}", "not enough"},
      {"{{ [1] | tojson(indent=10 ** 12) }}", "larger than"},
      {"{{ [[[[messages]]]] | tojson(indent='x' * 1000000) }}", "grows beyond"},
      {"{{ namespace() | tojson }}", "not JSON"},
      {"{{ strftime_now('%c' * 100000) }}", "longer than"},
      {"{{ strftime_now(1) }}", "format"},
      {"{{ ('{' * 99999).format() }}", "expected '}'"},
      // T7 other templates
      {"{% include 'x' %}", "not supported"},
      {"{% import 'x' as y %}", "not supported"},
      {"{% extends '/etc/passwd' %}", "not supported"},
      {"{% from 'x' import y %}", "not supported"},
      // T8 arithmetic
      {"{{ 10 ** 40 }}", "overflow"},
      {"{{ 2 ** 126 * 4 }}", "overflow"},
      {"{{ 2 ** 126 + 2 ** 126 }}", "overflow"},
      {"{{ -(2 ** 126) - 2 ** 126 - 1 }}", "overflow"},
      {"{{ -(-(2 ** 126) * 2) }}", "overflow"},
      {"{{ (-(2 ** 126) * 2) // -1 }}", "overflow"},
      {"{{ (-(2 ** 126) * 2) | abs }}", "overflow"},
      {"{{ 1 / 0 }}", "division"},
      {"{{ 1 // 0 }}", "division"},
      {"{{ 1 % 0 }}", "division"},
      {"{{ 1.0 // 0.0 }}", "division"},
      {"{{ 0 ** -1 }}", "negative power"},
      {"{{ 9e999 | int }}", "integer"},
      {"{{ 99999999999999999999999999999999999999999999 }}", "too large"},
      {"{{ '9' * 100 | int }}", ""},
      {"{{ ('9' * 100) | int }}", "overflow"},
      {"{{ [1][::0] }}", "zero"},
      // T9, T10 odd contents
      {"{{ messages[0].content.x.y }}", "no attribute"},
      {"{{ messages[7].role }}", "no element"},
      {"{{ messages.role.x }}", "no attribute"},
      {"{{ messages[0].nope + 'x' }}", "no attribute"},
      {"{{ raise_exception('a\x01\nb') }}", "a\\x01\\nb"},
      {std::string("{{ '\xff' }}"), "UTF-8"},
      {std::string(300 << 10, 'x'), "at most"},
      {"{{ '\\ud800' }}", "Unicode"},
  };
  for (const Case& each : cases) {
    const auto begin = std::chrono::steady_clock::now();
    const std::string error = ErrorOf(each.source);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_FALSE(error.empty() && !each.expected.empty())
        << each.source.substr(0, 200) << " was not refused";
    EXPECT_NE(error.find(each.expected), std::string::npos)
        << each.source.substr(0, 200) << "\n  gave: " << error;
    EXPECT_EQ(error.find('\n'), std::string::npos);
    EXPECT_LT(seconds, 20) << each.source.substr(0, 200);
  }
  EXPECT_GT(cases.size(), 100u);
}

TEST(JinjaHostile, ExtremeBoundsOfSlicesGiveWhatPythonGives) {
  const std::string big = "(-(2 ** 126) * 2)", huge = "(2 ** 126)";
  const std::vector<Case> cases = {
      {"{{ 'abc'[" + big + ":] }}", "abc"},
      {"{{ 'abc'[:" + big + "] }}", ""},
      {"{{ 'abc'[::" + big + "] }}", "c"},
      {"{{ 'abc'[::" + huge + "] }}", "a"},
      {"{{ [1, 2][" + huge + "::" + big + "] }}", "[2]"},
      {"{{ 'abc'[" + big + "] }}", ""},
      {"{{ 'abc'[:" + huge + "] }}", "abc"},
      {"{{ 'abc'[-9223372036854775808:9223372036854775807:-1] }}", ""},
      {"{{ 'éaé'[::-9223372036854775808] }}", "é"},
      {"{{ 'abc'.find('c', " + big + ", " + huge + ") }}", "2"},
      {"{{ 'abc'.find('', 4) }}", "-1"},
      {"{{ 'a,b'.split(',', " + big + ") }}", "['a', 'b']"},
      {"{{ 'aXa'.replace('a', 'b', " + huge + ") }}", "bXb"},
      {"{{ 'x' * " + big + " }}", ""},
      {"{{ 'abc' | truncate(" + huge + ") }}", "abc"},
      {"{{ 'a,b'.rsplit(',', " + big + ") }}", "['a', 'b']"},
      {"{{ 'a b'.split(none, " + big + ") }}", "['a', 'b']"},
      {"{{ 'a'.ljust(" + big + ") }}", "a"},
      {"{{ 'a'.zfill(" + big + ") }}", "a"},
      {"{{ 'a'.expandtabs(" + big + ") }}", "a"},
      {"{{ 'a'.count('a', " + big + ", " + huge + ") }}", "1"},
      {"{{ [1].index(1, " + big + ", " + huge + ") }}", "0"},
      {"{{ 'a' | indent(" + big + ", true) }}", "a"},
      {"{{ [1] | tojson(indent=" + big + ") }}", "[\n1\n]"},
      {"{{ [1] | batch(" + big + ", 0) | list }}", "[[1]]"},
      {"{{ [1] | slice(" + big + ") | list }}", "[]"},
      {"{{ 'a' | center(" + big + ") }}", "a"},
      {"{{ range(" + big + ", " + big + " + 2)[::" + huge + "] | length }}", "1"},
      {"{{ [1, 2] * " + big + " }}", "[]"},
      {"{{ range(" + huge + ", " + huge + " + 2) | list | length }}", "2"},
      {"{{ 5 | round(" + big + ") }}", "0"},
      {"{{ 2.5 | round(" + huge + ") }}", "2.5"},
      {"{{ (-(2 ** 126) * 2) % -1 }}", "0"},
      {"{{ '{}'.format(-(2 ** 126) * 2) }}", "-170141183460469231731687303715884105728"},
  };
  for (const Case& each : cases) {
    std::string text;
    EXPECT_EQ(ErrorOf(each.source, Input(), &text), "") << each.source;
    EXPECT_EQ(text, each.expected) << each.source;
  }
}

TEST(JinjaHostile, SixtyFourNestedBlocksAreAllowedAndOneMoreIsNot) {
  const int limit = static_cast<int>(limits::kTemplateNesting);
  EXPECT_EQ(ErrorOf(Times("{% if 1 %}", limit) + "x" + Times("{% endif %}", limit)), "");
  EXPECT_NE(ErrorOf(Times("{% if 1 %}", limit + 1) + "x" + Times("{% endif %}", limit + 1)), "");
  // The outermost expression is a level itself.
  EXPECT_EQ(ErrorOf("{{ " + Times("(", limit - 1) + "1" + Times(")", limit - 1) + " }}"), "");
  EXPECT_NE(ErrorOf("{{ " + Times("(", limit) + "1" + Times(")", limit) + " }}"), "");
}

TEST(JinjaHostile, LongTemplatesAndManyMessagesWithinTheLimitsRender) {
  ChatInput input;
  for (int i = 0; i < 3000; ++i)
    input.messages.Append(Message(i % 2 == 0 ? "user" : "assistant", std::string(1000, 'y')));
  std::string text;
  // Accumulation in a namespace must not cost the square of its length.
  EXPECT_EQ(ErrorOf("{% set ns = namespace(s='') %}{% for m in messages %}{% set ns.s = ns.s + "
                    "m.role + m.content + '\n' %}{% endfor %}{{ ns.s }}",
                    input, &text),
            "");
  EXPECT_GT(text.size(), 3000u * 1000u);
  EXPECT_EQ(ErrorOf("{% if 0 %}" + Times("{% elif 0 %}", 5000) + "{% endif %}"), "");
  EXPECT_EQ(ErrorOf("{{ 'a'" + Times(" ~ 'b'", 5000) + " }}"), "");
  EXPECT_EQ(ErrorOf(std::string(limits::kTemplateBytes, 'x')), "");
}

TEST(JinjaHostile,
     ReferenceCyclesAreFreed) {  // the leak checker of the sanitizer build is the judge
  EXPECT_EQ(ErrorOf("{% set ns = namespace() %}{% set ns.me = ns %}{% macro f() %}{{ ns.me.me is "
                    "defined }}{% endmacro %}{% set ns.f = f %}{{ f() }}"),
            "");
}

// Byte-level damage to real templates: deletions, duplications, swaps, splices of Jinja fragments.
std::string Mutate(std::string text, std::mt19937_64* rng) {
  static const std::vector<std::string> kPieces = {"{{",
                                                   "}}",
                                                   "{%",
                                                   "%}",
                                                   "{#",
                                                   "#}",
                                                   "-",
                                                   "|",
                                                   "(",
                                                   ")",
                                                   "[",
                                                   "]",
                                                   "'",
                                                   "\"",
                                                   ".",
                                                   "~",
                                                   "loop",
                                                   "messages",
                                                   "m",
                                                   " for x in messages ",
                                                   " if ",
                                                   " else ",
                                                   "endif",
                                                   "endfor",
                                                   " set ",
                                                   "namespace()",
                                                   "* 1000000",
                                                   "[::-1]",
                                                   "| tojson",
                                                   "| join",
                                                   "range(99999)",
                                                   "\\",
                                                   "\n",
                                                   "\xc3\xa9",
                                                   "0",
                                                   "-1",
                                                   "{% for q in range(999) %}",
                                                   "{% endfor %}",
                                                   "{{ messages }}",
                                                   "caller()",
                                                   "{% generation %}",
                                                   "recursive",
                                                   "== none",
                                                   "is defined",
                                                   "not "};
  const auto below = [&](size_t n) {
    return static_cast<size_t>((*rng)() % std::max<size_t>(n, 1));
  };
  for (size_t edits = 1 + below(6); edits > 0; --edits) {
    const size_t at = below(text.size()), size = std::min(below(40), text.size() - at);
    switch (below(5)) {
      case 0:
        text.erase(at, size);
        break;
      case 1:
        text.insert(at, kPieces[below(kPieces.size())]);
        break;
      case 2:
        text.insert(below(text.size()), text.substr(at, size));
        break;
      case 3:
        text.replace(at, size, kPieces[below(kPieces.size())]);
        break;
      default:
        if (!text.empty()) text[at] = static_cast<char>(32 + below(95));
    }
  }
  return text;
}

TEST(JinjaHostileGolden, TwoThousandMutatedTemplatesRenderOrFailCleanly) {
  namespace fs = std::filesystem;
  std::vector<std::string> sources;
  const char* golden = std::getenv("PLANISH_GOLDEN");
  const fs::path own = fs::path(PLANISH_SOURCE_DIR) / "tests" / "golden";
  for (const fs::path& folder :
       {golden != nullptr ? fs::path(golden) / "chat" : own / "chat", own / "jinja"}) {
    if (!fs::exists(folder)) continue;
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".jinja") paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    for (const fs::path& path : paths) {
      std::ifstream file(path, std::ios::binary);
      std::stringstream text;
      text << file.rdbuf();
      sources.push_back(text.str());
    }
  }
  if (sources.empty()) GTEST_SKIP() << "no *.jinja under PLANISH_GOLDEN or " << own;
  ChatInput input;
  input.messages = ParseJson(
      R"([{"role":"system","content":"s /no_think"},{"role":"user","content":"hé"},{"role":"assistant","content":null,
      "tool_calls":[{"id":"123456789","function":{"name":"f","arguments":{"a":[1,2.5,null]}}}]},{"role":"tool","content":"7"},
      {"role":"assistant","content":"<think>x</think>y"},{"role":"user","content":[{"type":"text","text":"t"}]}])",
      "messages");
  input.tools = ParseJson(
      R"([{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"array"}}}}}])",
      "tools");
  input.add_generation_prompt = true;
  constexpr uint64_t kSeed = 20250917;
  std::mt19937_64 rng(kSeed);
  int rendered = 0, refused = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string source = Mutate(sources[static_cast<size_t>(i) % sources.size()], &rng);
    (ErrorOf(source, input).empty() ? rendered : refused)++;
  }
  EXPECT_GT(rendered, 20) << "seed " << kSeed;
  EXPECT_GT(refused, 200) << "seed " << kSeed;
}

}  // namespace
}  // namespace planish
