// SPDX-License-Identifier: Apache-2.0
// The thinking budget driven by scripted texts: every way in which reasoning ends, over tokenizers
// that cut the tags in any number of pieces.
#include "infer/budget.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "text/byte_level.h"

namespace planish {
namespace {

using Mode = ReasoningSplitter::Mode;
using StoppedBy = ThinkingBudget::StoppedBy;

// 256 byte tokens, and every piece of `extra` as an added token, so that a script can choose how
// text is cut.
std::shared_ptr<const Tokenizer> MakeTokenizer(const std::vector<std::string>& extra = {}) {
  GgufVocabulary vocabulary;
  vocabulary.pre = "llama-bpe";
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    vocabulary.tokens.emplace_back();
    AppendByteLevel({&c, 1}, &vocabulary.tokens.back());
    vocabulary.types.push_back(1);
  }
  for (const std::string& piece : extra) {
    vocabulary.tokens.push_back(piece);
    vocabulary.types.push_back(4);
  }
  return Tokenizer::FromGguf(vocabulary, "test.gguf");
}

// Plays the engine: Begin, then a scripted token at a time, with forced tokens put in at once. Ends
// after the closing tag.
struct Play {
  std::string text;    // all, forced included
  std::string forced;  // all forced text
  size_t sampled = 0;  // tokens taken from the script
  size_t forced_tokens = 0;
  std::vector<bool> is_forced;
};

class Player {
 public:
  explicit Player(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}

  Play Run(ThinkingBudget* budget, const std::vector<std::string>& pieces,
           size_t max_tokens = 100'000) const {
    Play play;
    TokenHook::Action action = budget->Begin();
    size_t next = 0;
    while (play.is_forced.size() < max_tokens) {
      if (!action.forced.empty()) {
        const std::vector<int32_t> forced = action.forced;
        for (const int32_t id : forced) {
          if (play.is_forced.size() == max_tokens) break;
          play.forced += tokenizer_->TokenBytes(id);
          action = Push(budget, id, true, &play);
        }
        continue;
      }
      if (next == pieces.size()) break;
      action = Push(budget, IdOf(pieces[next++]), false, &play);
    }
    return play;
  }

 private:
  int32_t IdOf(const std::string& piece) const {
    const auto id = tokenizer_->Find(piece);
    EXPECT_TRUE(id.has_value()) << piece;
    return id.value_or(0);
  }
  TokenHook::Action Push(ThinkingBudget* budget, int32_t id, bool forced, Play* play) const {
    play->text += tokenizer_->TokenBytes(id);
    play->is_forced.push_back(forced);
    (forced ? play->forced_tokens : play->sampled) += 1;
    return budget->OnToken(id);
  }
  std::shared_ptr<const Tokenizer> tokenizer_;
};

std::vector<std::string> Bytes(std::string_view text) {
  std::vector<std::string> pieces;
  for (const char c : text) pieces.emplace_back(1, c);
  return pieces;
}

class BudgetTest : public ::testing::Test {
 protected:
  struct Outcome : Play {
    StoppedBy stopped_by;
    size_t used;
  };
  Outcome Run(Mode start, const BudgetParams& params, const std::vector<std::string>& pieces,
              size_t max_tokens = 100'000) {
    ThinkingBudget budget(tokenizer_, start, params);
    Play play = Player(tokenizer_).Run(&budget, pieces, max_tokens);
    return {std::move(play), budget.stopped_by(), budget.used()};
  }
  Outcome Think(const BudgetParams& params, std::string_view text) {
    return Run(Mode::kThink, params, Bytes(text));
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = MakeTokenizer();
};

TEST_F(BudgetTest, WithoutLimitNothingIsForcedAndTheModelClosesByItself) {
  const auto out = Think({}, "some thought\nmore</think>\n\nanswer\n");
  EXPECT_EQ(out.forced, "");
  EXPECT_EQ(out.stopped_by, StoppedBy::kNatural);
  EXPECT_EQ(out.used, std::string("some thought\nmore</think>").size());
  const auto open = Think({}, std::string(1000, 'x'));
  EXPECT_EQ(open.forced, "");
  EXPECT_EQ(open.stopped_by, StoppedBy::kNone);
  EXPECT_EQ(open.used, 1000u);
}

TEST_F(BudgetTest, ClosesAtOnceWhenTheBudgetEndsAtANewline) {
  const auto out = Think({.budget = 10}, "123456789\nnext line\n");
  EXPECT_EQ(out.text.substr(0, 22), "123456789\n</think>\n\nne");
  EXPECT_EQ(out.forced, "</think>\n\n");
  EXPECT_EQ(out.stopped_by, StoppedBy::kBudget);
  EXPECT_EQ(out.used, 10 + out.forced_tokens);
}

TEST_F(BudgetTest, WaitsForTheNextNewlineWithinTheGrace) {
  const auto out = Think({.budget = 10}, "12\n4567890abcd\nrest");
  EXPECT_EQ(out.text.substr(0, 25), "12\n4567890abcd\n</think>\n\n");
  EXPECT_EQ(out.stopped_by, StoppedBy::kBudget);
}

TEST_F(BudgetTest, CutsWithAFullStopWhenTheGraceIsOver) {
  // G = clamp(ceil(B/10), 16, 500).
  for (const auto& [budget, grace] :
       {std::pair<size_t, size_t>{10, 16}, {160, 16}, {161, 17}, {300, 30}, {6000, 500}}) {
    const auto out = Think({.budget = static_cast<int64_t>(budget)}, std::string(7000, 'x'));
    EXPECT_EQ(out.text.substr(0, budget + grace + 12),
              std::string(budget + grace, 'x') + ".\n</think>\n\n")
        << budget;
    EXPECT_EQ(out.stopped_by, StoppedBy::kGrace);
  }
  const auto none = Think({.budget = 10, .grace = 0}, std::string(100, 'x'));
  EXPECT_EQ(none.text.substr(0, 22), "xxxxxxxxxx.\n</think>\n\n");
  EXPECT_EQ(none.stopped_by, StoppedBy::kGrace);
}

TEST_F(BudgetTest, ANaturalCloseWinsInTheGraceToo) {
  const auto out = Think({.budget = 5}, "1234567</think>\n\nanswer\nmore\n");
  EXPECT_EQ(out.forced, "");
  EXPECT_EQ(out.stopped_by, StoppedBy::kNatural);
}

TEST_F(BudgetTest, ClosingTextFitsWhatStandsBefore) {
  const auto forced_after = [&](const std::string& text) {
    return Think({.budget = static_cast<int64_t>(text.size()), .grace = 0}, text + "zzz").forced;
  };
  for (const char* text : {"a\n", "a.\n", "a\n\n", "a\n  "})
    EXPECT_EQ(forced_after(text), "</think>\n\n") << text;
  for (const char* text : {"a.", "a!", "a?", "a:", "a;", "a. ", "思う。"})
    EXPECT_EQ(forced_after(text), "\n</think>\n\n") << text;
  for (const char* text : {"a", "a,", "a ", "*"})
    EXPECT_EQ(forced_after(text), ".\n</think>\n\n") << text;
}

TEST_F(BudgetTest, ABeginningOfTheClosingTagIsOnlyCompleted) {
  const std::string tag = "</think>";
  for (size_t n = 1; n < tag.size(); ++n) {
    const std::string text = "abc" + tag.substr(0, n);
    const auto out = Think(
        {.budget = static_cast<int64_t>(text.size()), .grace = 0, .close_message = "Time is up."},
        text + "zzz");
    EXPECT_EQ(out.forced, tag.substr(n) + "\n\n");
    EXPECT_EQ(out.text.substr(0, 3 + 8 + 2), "abc</think>\n\n");
    EXPECT_EQ(out.stopped_by, StoppedBy::kGrace);
  }
}

TEST_F(BudgetTest, CloseMessageIsPlainTextBeforeTheTag) {
  const auto out = Think({.budget = 3, .grace = 0, .close_message = "Time is up."}, "abcdef");
  EXPECT_EQ(out.forced, ".\nTime is up.\n</think>\n\n");
  const auto special = MakeTokenizer({"<|end|>", "</think>"});
  ThinkingBudget budget(special, Mode::kThink, {.budget = 0, .close_message = "<|end|>"});
  const std::vector<int32_t> forced = budget.Begin().forced;
  EXPECT_EQ(std::count(forced.begin(), forced.end(), *special->Find("<|end|>")), 0)
      << "a message may not smuggle special tokens";
  EXPECT_EQ(std::count(forced.begin(), forced.end(), *special->Find("</think>")), 1)
      << "the tag is one token where there is one";
  EXPECT_EQ(special->Decode(forced), "<|end|>\n</think>\n\n");
}

TEST_F(BudgetTest, NeverCutsInsideACharacter) {
  for (const char* character : {"é", "€", "😀"}) {
    const std::string text = character;
    std::string many;
    for (int i = 0; i < 30; ++i) many += text;
    for (int64_t budget = 1; budget <= 9; ++budget) {
      for (const int64_t grace : {0, 1, 2}) {
        const auto out = Think({.budget = budget, .grace = grace}, many);
        const size_t cut = out.text.find(".\n</think>");
        ASSERT_NE(cut, std::string::npos);
        EXPECT_EQ(cut % text.size(), 0u) << budget << " " << text;
        EXPECT_LT(cut, static_cast<size_t>(budget + grace) + text.size());
      }
    }
  }
}

TEST_F(BudgetTest, NeverCutsAfterATokenThatEndsInsideACharacter) {
  tokenizer_ = MakeTokenizer();
  // "a" and the first two bytes of a character of four in one token: text comes out, yet the
  // character is open.
  GgufVocabulary vocabulary = tokenizer_->ToGguf();
  std::string spelled;
  AppendByteLevel("a\xF0\x9F", &spelled);
  vocabulary.tokens.push_back(spelled);
  vocabulary.types.push_back(1);
  tokenizer_ = Tokenizer::FromGguf(vocabulary, "test.gguf");
  const auto out =
      Run(Mode::kThink, {.budget = 1, .grace = 0}, {"a\xF0\x9F", "\x98", "\x80", "b", "c"});
  EXPECT_EQ(out.text.substr(0, 17), "a😀.\n</think>\n\n");
}

TEST_F(BudgetTest, ControlClosesAtTheNextToken) {
  for (const char* text : {"ab", "ab\n", "a"}) {
    ThinkingBudget budget(tokenizer_, Mode::kThink, {});
    const Player player(tokenizer_);
    Play first = player.Run(&budget, Bytes(text));
    EXPECT_EQ(first.forced, "");
    budget.EndThinking();
    TokenHook::Action action = budget.OnToken(*tokenizer_->Find("x"));
    EXPECT_EQ(tokenizer_->Decode(action.forced), ".\n</think>\n\n");
    for (const int32_t id : action.forced) budget.OnToken(id);
    EXPECT_EQ(budget.stopped_by(), StoppedBy::kControl);
    EXPECT_FALSE(budget.is_thinking());
    EXPECT_TRUE(budget.OnToken(*tokenizer_->Find("y")).forced.empty()) << "once is enough";
  }
  ThinkingBudget before(tokenizer_, Mode::kThink, {});
  before.EndThinking();
  EXPECT_EQ(tokenizer_->Decode(before.Begin().forced), "</think>\n\n");
  ThinkingBudget answer(tokenizer_, Mode::kThink, {});
  Player(tokenizer_).Run(&answer, Bytes("a</think>b"));
  answer.EndThinking();
  EXPECT_TRUE(answer.OnToken(*tokenizer_->Find("x")).forced.empty());
  EXPECT_EQ(answer.stopped_by(), StoppedBy::kNatural);
}

TEST_F(BudgetTest, OpenWaitCountsFromTheTagAndLeavesAnswersWithoutOneAlone) {
  const auto out = Run(Mode::kOpenWait, {.budget = 4, .grace = 0}, Bytes("\n<think>abcdefgh"));
  EXPECT_EQ(out.text.substr(0, 24), "\n<think>abcd.\n</think>\n\n");
  EXPECT_EQ(out.used, 4 + out.forced_tokens);
  const auto plain =
      Run(Mode::kOpenWait, {.budget = 4, .grace = 0}, Bytes("no tag at all\n<think>plain text"));
  EXPECT_EQ(plain.forced, "");
  EXPECT_EQ(plain.used, 0u);
  EXPECT_EQ(plain.stopped_by, StoppedBy::kNone);
  const auto almost = Run(Mode::kOpenWait, {.budget = 0}, Bytes("<thinking>x"));
  EXPECT_EQ(almost.forced, "");
  const auto zero = Run(Mode::kOpenWait, {.budget = 0}, Bytes("<think>abc"));
  EXPECT_EQ(zero.text.substr(0, 17), "<think></think>\n\n");
  EXPECT_EQ(zero.stopped_by, StoppedBy::kBudget);
  // A tag in the answer is plain text: it opens no second budget.
  const auto twice = Run(Mode::kOpenWait, {.budget = 9, .grace = 0},
                         Bytes("<think>a</think>b<think>" + std::string(50, 'x')));
  EXPECT_EQ(twice.forced, "");
  EXPECT_EQ(twice.stopped_by, StoppedBy::kNatural);
  tokenizer_ = MakeTokenizer({"<think></think>"});
  EXPECT_EQ(Run(Mode::kOpenWait, {.budget = 0}, {"<think></think>", "a"}).stopped_by,
            StoppedBy::kNatural);
}

TEST_F(BudgetTest, OffAndAnswerAreNeverTouched) {
  for (const Mode mode : {Mode::kOff, Mode::kAnswer}) {
    const auto out =
        Run(mode, {.budget = 0, .max_new_tokens = 8}, Bytes("<think>text</think> and more\n"));
    EXPECT_EQ(out.forced, "");
    EXPECT_EQ(out.used, 0u);
    EXPECT_EQ(out.stopped_by, StoppedBy::kNone);
  }
}

// All ways to cut "<think>" and "</think>" into n tokens that differ in where the first cut is.
TEST_F(BudgetTest, TagsInOneToEightPiecesAreSeen) {
  for (size_t n = 1; n <= 8; ++n) {
    std::vector<std::string> extra, script;
    const auto cut = [&](const std::string& tag) {
      const size_t pieces = std::min(n, tag.size());
      for (size_t i = 0; i < pieces; ++i) {
        const size_t begin = tag.size() * i / pieces, end = tag.size() * (i + 1) / pieces;
        script.push_back(tag.substr(begin, end - begin));
        if (end - begin > 1) extra.push_back(script.back());
      }
    };
    cut("<think>");
    for (const char* piece : {"a", "b", "c"}) script.emplace_back(piece);
    cut("</think>");
    script.emplace_back("d");
    std::sort(extra.begin(), extra.end());
    extra.erase(std::unique(extra.begin(), extra.end()), extra.end());
    tokenizer_ = MakeTokenizer(extra);
    const auto natural = Run(Mode::kOpenWait, {.budget = 32}, script);
    EXPECT_EQ(natural.text, "<think>abc</think>d") << n;
    EXPECT_EQ(natural.stopped_by, StoppedBy::kNatural);
    EXPECT_EQ(natural.used, 3 + std::min<size_t>(n, 8));
    const auto forced = Run(Mode::kOpenWait, {.budget = 2, .grace = 0}, script);
    EXPECT_EQ(forced.text.substr(0, 21), "<think>ab.\n</think>\n\n") << n;
  }
}

TEST_F(BudgetTest, TokensThatCrossATagAreSplitByText) {
  tokenizer_ = MakeTokenizer({">\n\n", ">ok", "x</", "think>\n"});
  const auto natural = Run(Mode::kThink, {.budget = 32}, {"a", "x</", "think>\n", "b"});
  EXPECT_EQ(natural.stopped_by, StoppedBy::kNatural);
  EXPECT_EQ(natural.used, 3u);
  std::vector<std::string> script = Bytes("</think");
  script.push_back(">\n\n");
  EXPECT_EQ(Run(Mode::kThink, {.budget = 32}, script).stopped_by, StoppedBy::kNatural);
  script = Bytes("<think");
  script.push_back(">ok");
  for (int i = 0; i < 40; ++i) script.emplace_back("y");
  const auto forced = Run(Mode::kOpenWait, {.budget = 2, .grace = 0}, script);
  EXPECT_EQ(forced.text.substr(0, 23), "<think>okyy.\n</think>\n\n");
}

TEST_F(BudgetTest, BudgetsOfZeroOneTwoAndThirtyTwo) {
  for (const size_t budget : {0, 1, 2, 32}) {
    const auto lines = Think({.budget = static_cast<int64_t>(budget)}, std::string(100, '\n'));
    EXPECT_EQ(lines.text.substr(0, budget + 10), std::string(budget, '\n') + "</think>\n\n");
    EXPECT_EQ(lines.stopped_by, StoppedBy::kBudget);
    EXPECT_EQ(lines.used, budget + 10);
    const auto solid = Think({.budget = static_cast<int64_t>(budget)}, std::string(100, 'x'));
    const std::string expected =
        budget == 0 ? "</think>\n\n" : std::string(budget + 16, 'x') + ".\n</think>\n\n";
    EXPECT_EQ(solid.text.substr(0, expected.size()), expected) << budget;
    EXPECT_EQ(solid.used, expected.size()) << "forced tokens count";
  }
}

TEST_F(BudgetTest, TheReserveLeavesAnAnswerWhateverTheModelDoes) {
  const std::string wall(5000, 'x'), emoji = [] {
    std::string text;
    for (int i = 0; i < 1500; ++i) text += "😀";
    return text;
  }();
  for (const size_t limit : {64, 65, 100, 256, 1000, 2000}) {
    for (const int64_t budget : {-1, 0, 1, 20, 60, 5000}) {
      for (const int64_t grace : {-1, 0, 100}) {
        for (const bool opens : {false, true}) {
          for (const std::string* text : {&wall, &emoji}) {
            for (const char* message : {"", "I have to answer now, because the time is over."}) {
              const BudgetParams params{.budget = budget,
                                        .grace = grace,
                                        .max_new_tokens = limit,
                                        .close_message = message};
              const std::string script = (opens ? "\n<think>" : "") + *text;
              const auto out =
                  Run(opens ? Mode::kOpenWait : Mode::kThink, params, Bytes(script), limit);
              const size_t close = out.text.find("</think>\n\n");
              if (limit < 100 && *message != 0)
                continue;  // the message alone takes most of so short a limit
              ASSERT_NE(close, std::string::npos) << "limit " << limit << " budget " << budget
                                                  << " grace " << grace << " opens " << opens;
              EXPECT_GT(out.text.size(), close + 10)
                  << "no token is left: limit " << limit << " budget " << budget << " grace "
                  << grace << " opens " << opens;
              EXPECT_EQ(out.is_forced.size(), limit);
              EXPECT_FALSE(out.is_forced.back());
            }
          }
        }
      }
    }
  }
}

TEST_F(BudgetTest, TheReserveLowersTheBudgetAsTheFormulaSays) {
  const auto effective = [&](const BudgetParams& params) {
    return ThinkingBudget(tokenizer_, Mode::kThink, params).effective_budget();
  };
  // B = min(B, limit - G - R), R = min(256, limit / 4).
  EXPECT_EQ(effective({.budget = 100, .max_new_tokens = 1000}), 100);
  EXPECT_EQ(effective({.budget = 900, .max_new_tokens = 1000}), 1000 - 90 - 250);
  EXPECT_EQ(effective({.budget = -1, .max_new_tokens = 1000}), 1000 - 100 - 250);
  EXPECT_EQ(effective({.budget = 5000, .max_new_tokens = 4000}), 4000 - 500 - 256);
  EXPECT_EQ(effective({.budget = 5000, .max_new_tokens = 4000, .answer_reserve = 0}), 5000);
  EXPECT_EQ(effective({.budget = -1, .max_new_tokens = 4000, .answer_reserve = 0}), -1);
  EXPECT_EQ(effective({.budget = 900, .grace = 10, .max_new_tokens = 1000, .answer_reserve = 100}),
            890);
  EXPECT_EQ(effective({.budget = -1, .max_new_tokens = 0}), -1);
  EXPECT_EQ(effective({.budget = 50, .max_new_tokens = 10, .answer_reserve = 20}), 0);

  EXPECT_EQ(
      Run(Mode::kThink, {.max_new_tokens = 200}, Bytes(std::string(300, 'x')), 200).stopped_by,
      StoppedBy::kReserve);
  EXPECT_EQ(
      Run(Mode::kThink, {.max_new_tokens = 200}, Bytes(std::string(300, '\n')), 200).stopped_by,
      StoppedBy::kReserve);
  EXPECT_EQ(
      Run(Mode::kThink, {.budget = 20, .max_new_tokens = 200}, Bytes(std::string(300, 'x')), 200)
          .stopped_by,
      StoppedBy::kGrace);
  EXPECT_EQ(Run(Mode::kThink, {.budget = 20, .grace = 1000, .max_new_tokens = 200},
                Bytes(std::string(300, 'x')), 200)
                .stopped_by,
            StoppedBy::kReserve);
  EXPECT_EQ(Run(Mode::kThink, {.max_new_tokens = 4000, .answer_reserve = 0},
                Bytes(std::string(300, 'x')), 200)
                .stopped_by,
            StoppedBy::kNone);
}

TEST_F(BudgetTest, ForcedTokensThatAnotherHookDisplacedAreForcedAgain) {
  ThinkingBudget budget(tokenizer_, Mode::kThink, {.budget = 2, .grace = 0});
  const auto push = [&](char c) { return budget.OnToken(*tokenizer_->Find(std::string(1, c))); };
  EXPECT_TRUE(push('a').forced.empty());
  EXPECT_EQ(tokenizer_->Decode(push('b').forced), ".\n</think>\n\n");
  EXPECT_EQ(tokenizer_->Decode(push('!').forced), "\n</think>\n\n") << "something else went in";
  TokenHook::Action action = push('\n');
  EXPECT_TRUE(action.forced.empty());
  for (const char c : std::string("</think>\n\n")) action = push(c);
  EXPECT_TRUE(action.forced.empty());
  EXPECT_FALSE(budget.is_thinking());
}

TEST_F(BudgetTest, AToolCallAtLineStartEndsTheReasoningWhereToolsAreOffered) {
  const std::string text = "I look.\n<TOOLCALL>[{\"name\":\"f\"}]</TOOLCALL>";
  const auto out = Think({.budget = 20, .tool_calls = true}, text);
  EXPECT_EQ(out.text, text);
  EXPECT_EQ(out.stopped_by, StoppedBy::kTool);
  EXPECT_EQ(out.used, std::string("I look.\n<TOOLCALL>").size());
  // Without tools, or inside a line, it is a thought like any other.
  EXPECT_EQ(Think({}, text).stopped_by, StoppedBy::kNone);
  EXPECT_EQ(Think({.tool_calls = true}, "a <TOOLCALL>[").stopped_by, StoppedBy::kNone);
  // A beginning of the tag at the cut is no beginning of the closing tag.
  const auto cut = Think({.budget = 5, .grace = 0, .tool_calls = true}, "\n<TOOLCALL>");
  EXPECT_EQ(cut.text.substr(0, 14), "\n<TOO.\n</think");
}

TEST(BudgetNames, AreThoseOfTheProtocol) {
  EXPECT_STREQ(Name(StoppedBy::kNone), "none");
  EXPECT_STREQ(Name(StoppedBy::kNatural), "natural");
  EXPECT_STREQ(Name(StoppedBy::kBudget), "budget");
  EXPECT_STREQ(Name(StoppedBy::kGrace), "grace");
  EXPECT_STREQ(Name(StoppedBy::kReserve), "reserve");
  EXPECT_STREQ(Name(StoppedBy::kControl), "control");
  EXPECT_STREQ(Name(StoppedBy::kLength), "length");
  EXPECT_STREQ(Name(StoppedBy::kTool), "tool");
}

// Every way to write the closing tag is masked until the least number of tokens, and none after it.
TEST(ThinkingBudget, LeastThinkingMasksWhatWouldCloseIt) {
  const auto tokenizer = MakeTokenizer({"</think>", "nk>", "</thi", "k>x"});
  const auto id = [&](std::string_view piece) { return *tokenizer->Find(piece); };
  BudgetParams params;
  params.min_tokens = 4;
  params.end_ids = {id("z")};
  ThinkingBudget budget(tokenizer, Mode::kThink, params);
  const TokenMask* mask = budget.Begin().mask;
  ASSERT_NE(mask, nullptr);
  EXPECT_FALSE(mask->Allows(id("</think>")));
  EXPECT_FALSE(mask->Allows(id("z"))) << "the end of the answer is none of the reasoning";
  EXPECT_TRUE(mask->Allows(id("nk>")));
  EXPECT_TRUE(mask->Allows(id("</thi")));
  mask = budget.OnToken(id("</thi")).mask;
  ASSERT_NE(mask, nullptr);
  EXPECT_FALSE(mask->Allows(id("nk>")));
  EXPECT_TRUE(mask->Allows(id("k>x")));
  mask = budget.OnToken(id("n")).mask;
  ASSERT_NE(mask, nullptr);
  EXPECT_FALSE(mask->Allows(id("k>x")));
  EXPECT_TRUE(mask->Allows(id("nk>")));
  mask = budget.OnToken(id("a")).mask;
  ASSERT_NE(mask, nullptr);
  EXPECT_TRUE(mask->Allows(id("k>x")));
  EXPECT_EQ(budget.OnToken(id("b")).mask, nullptr) << "four tokens: free";
  budget.OnToken(id("</think>"));
  EXPECT_EQ(budget.stopped_by(), StoppedBy::kNatural);
}

}  // namespace
}  // namespace planish
