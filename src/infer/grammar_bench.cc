// SPDX-License-Identifier: Apache-2.0
// What holding an answer to a grammar costs in processor time: compiling, and per token the hook with its mask, over answers written at random
// under the mask (a model that means to write JSON meets fewer new states). Usage: grammar_bench TOKENIZER_JSON[.zst]
#include <algorithm>
#include <cstdio>
#include <ctime>

#include "base/file.h"
#include "base/random.h"
#include "infer/grammar_hook.h"

namespace planish {
namespace {

// Processor time of this thread: what another program takes of the machine is not ours.
double Now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}
double MillisecondsSince(double begin) { return Now() - begin; }

struct Case {
  const char* name;
  const char* field;
  const char* value;
};
constexpr Case kCases[] = {
    {"any object", "json", R"({"type":"object"})"},
    {"person", "json",
     R"({"type":"object","properties":{"name":{"type":"string","maxLength":40},"age":{"type":"integer","minimum":0,"maximum":150},)"
     R"("tags":{"type":"array","items":{"enum":["a","b","cat","dog"]},"minItems":1,"maxItems":5},"address":{"type":"object","properties":)"
     R"({"street":{"type":"string"},"zip":{"type":"string","pattern":"^[0-9]{5}$"}},"required":["street","zip"],"additionalProperties":false}},)"
     R"("required":["name","age"],"additionalProperties":false})"},
    {"map of lists", "json",
     R"({"type":"object","additionalProperties":{"type":"array","items":{"type":"string","minLength":3}}})"},
    {"tree", "json",
     R"({"type":"object","properties":{"label":{"type":"string"},"kids":{"type":"array","items":{"$ref":"#"}}},"required":["label"]})"},
    {"pattern", "json",
     R"({"type":"array","items":{"type":"string","pattern":"^[^@]+@[a-z]+\\.(com|org)$"}})"},
    {"regex", "regex", "(\\w+ ){3,8}\\w+[.!?]"},
    {"choice", "choice", R"(["yes","no","I cannot say"])"},
};

// Writes answers of at most 200 tokens; the time of each call of the hook goes to `times`.
void Write(GrammarHook* hook, const Tokenizer& tokenizer, int32_t end, Random* random,
           std::vector<double>* times) {
  double begin = Now();
  TokenHook::Action action = hook->Begin();
  times->push_back(MillisecondsSince(begin));
  for (int step = 0; step < 200 && !action.stop && action.mask != nullptr; ++step) {
    std::vector<int32_t> allowed, closing;
    for (size_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if (!action.mask->Allows(id)) continue;
      allowed.push_back(static_cast<int32_t>(id));
      if (tokenizer.TokenBytes(static_cast<int32_t>(id)).find_first_of("\"}],.@") !=
          std::string_view::npos)
        closing.push_back(static_cast<int32_t>(id));
    }
    // Strings of a few tokens, not of hundreds.
    const std::vector<int32_t>& from =
        !closing.empty() && random->Below(3) == 0 ? closing : allowed;
    const int32_t id = from[random->Below(from.size())];
    if (id == end) return;
    begin = Now();
    action = hook->OnToken(id);
    times->push_back(MillisecondsSince(begin));
  }
}

int Run(const char* path) {
  const auto tokenizer =
      Tokenizer::FromJson(ReadFileMaybeZstd(path, limits::kTokenizerBytes), path);
  double begin = Now();
  const auto vocabulary = GrammarVocabulary::Make(tokenizer);
  std::printf("vocabulary of %zu tokens laid out in %.0f ms\n", tokenizer->vocab_size(),
              MillisecondsSince(begin));
  std::printf("%-14s %10s %10s %10s %10s %8s\n", "grammar", "compile ms", "median ms", "p99 ms",
              "max ms", "tokens");
  int32_t end = 0;
  while (!tokenizer->IsSpecial(end)) ++end;
  std::vector<double> all;
  Random random(1, 0);
  for (const Case& c : kCases) {
    AnswerFormat format;
    format.structured_outputs = Json::MakeObject();
    format.structured_outputs.Set(
        c.field, std::string_view(c.field) == "regex" ? Json(c.value) : ParseJson(c.value, c.name));
    begin = Now();
    const auto answer = CompileAnswerGrammar(format);
    const double compile = MillisecondsSince(begin);
    std::vector<double> times;
    for (int round = 0; round < 12; ++round) {
      GrammarHook hook(answer, vocabulary, ReasoningSplitter::Mode::kAnswer, {end});
      Write(&hook, *tokenizer, end, &random, &times);
    }
    all.insert(all.end(), times.begin(), times.end());
    std::sort(times.begin(), times.end());
    std::printf("%-14s %10.2f %10.3f %10.3f %10.3f %8zu\n", c.name, compile,
                times[times.size() / 2], times[times.size() * 99 / 100], times.back(),
                times.size());
  }
  std::sort(all.begin(), all.end());
  std::printf("%-14s %10s %10.3f %10.3f %10.3f %8zu\n", "all", "", all[all.size() / 2],
              all[all.size() * 99 / 100], all.back(), all.size());
  return 0;
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: grammar_bench TOKENIZER_JSON[.zst]\n");
    return 2;
  }
  return planish::Run(argv[1]);
}
