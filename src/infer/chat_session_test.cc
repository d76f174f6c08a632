// SPDX-License-Identifier: Apache-2.0
// A conversation with a tiny hybrid: its book-keeping, and that answers computed from kept states
// are those of a session that starts from nothing.
#include "infer/chat_session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

// The tiny hybrid with a chat template beside it; templates: nano2 (reasoning, history loses it),
// chatml (none).
const Pretrained& Opened(const std::string& chat_template) {
  static testing::TemporaryDir folder;
  static std::map<std::string, Pretrained> opened;
  if (!opened.contains(chat_template)) {
    const std::string golden = PLANISH_SOURCE_DIR "/tests/golden", path = folder / chat_template;
    std::filesystem::copy(golden + "/models/nemotron_h_a", path,
                          std::filesystem::copy_options::recursive);
    WriteFile(path + "/chat_template.jinja",
              ReadFile(golden + "/chat/" + chat_template + ".jinja", 1 << 20));
    opened[chat_template] = OpenPretrained(path);
  }
  return opened[chat_template];
}

struct Setting {
  const char* chat_template;
  Thinking thinking;
  int64_t budget;
};

void Apply(const Setting& setting, ChatSession* session) {
  session->settings.thinking = setting.thinking;
  session->settings.budget = setting.budget;
  session->settings.max_new_tokens = 24;
  session->settings.sampling.temperature = 0;
}

class ChatSessionTest : public ::testing::TestWithParam<Setting> {
 protected:
  ChatSessionTest() { Apply(GetParam(), &session_); }
  const Pretrained& opened_ = Opened(GetParam().chat_template);
  Engine engine_{opened_.model.get(), {.cache_bytes = 64 << 20}};
  ChatSession session_{&opened_, &engine_};
};

std::string Roles(const ChatSession& session) {
  std::string roles;
  for (const Json& message : session.messages().json().AsArray())
    roles += message.Find("role")->AsString().substr(0, 1);
  return roles;
}

TEST_P(ChatSessionTest, LaterTurnsResumeAndAnswerAsAFreshSessionDoes) {
  session_.messages().SetSystem("You are terse.");
  for (const char* text : {"Hello there, who are you?", "And what is 12 + 30?", "Why?",
                           "Write a poem about the sea, please."}) {
    const Json before = session_.messages().json();
    const Generated warm = session_.Say(text, nullptr);
    Engine fresh_engine(opened_.model.get());
    ChatSession fresh(&opened_, &fresh_engine);
    Apply(GetParam(), &fresh);
    fresh.messages().Set(before);
    const Generated cold = fresh.Say(text, nullptr);
    EXPECT_EQ(warm.ids, cold.ids) << text;
    EXPECT_EQ(warm.answer, cold.answer);
    EXPECT_EQ(warm.reasoning, cold.reasoning);
    ASSERT_EQ(warm.logprobs.size(), cold.logprobs.size());
    EXPECT_EQ(std::memcmp(warm.logprobs.data(), cold.logprobs.data(),
                          warm.logprobs.size() * sizeof(double)),
              0);
    EXPECT_EQ(cold.result.resumed_tokens, 0u);
    EXPECT_EQ(session_.messages().json(), fresh.messages().json());
    if (before.AsArray().size() > 1) {
      EXPECT_GT(warm.result.resumed_tokens, 0u) << text;
      EXPECT_LT(warm.result.resumed_tokens, session_.last_prompt_tokens());
    }
  }
  EXPECT_EQ(Roles(session_), "suauauaua");
}

TEST_P(ChatSessionTest, RegenerateReplacesTheAnswerAndComputesOnlyTheEndOfThePrompt) {
  session_.Say("One", nullptr);
  const Generated first = session_.Say("Two", nullptr);
  const Json messages = session_.messages().json();
  const Generated again = session_.Regenerate(nullptr);
  EXPECT_EQ(again.ids, first.ids) << "greedy";
  EXPECT_EQ(session_.messages().json(), messages);
  EXPECT_GT(again.result.resumed_tokens, first.result.resumed_tokens);
  session_.settings.sampling = {.temperature = 3.0, .seed = 1};
  const Generated drawn = session_.Regenerate(nullptr), other = session_.Regenerate(nullptr);
  EXPECT_NE(drawn.ids, other.ids) << "another answer, not the same one again";
  EXPECT_EQ(Roles(session_), "uaua");
}

TEST_P(ChatSessionTest, UndoGivesTheTextBackAndTheSameQuestionGetsTheSameAnswer) {
  EXPECT_EQ(session_.messages().Undo(), "");
  session_.messages().SetSystem("S");
  session_.Say("One", nullptr);
  const Generated first = session_.Say("Two", nullptr);
  EXPECT_EQ(session_.messages().LastUserText(), "Two");
  EXPECT_EQ(session_.messages().Undo(), "Two");
  EXPECT_EQ(Roles(session_), "sua");
  session_.Say("Something else", nullptr);
  session_.messages().Undo();
  EXPECT_EQ(session_.Say("Two", nullptr).ids, first.ids);
  session_.messages().Undo();
  EXPECT_EQ(session_.messages().Undo(), "One");
  EXPECT_EQ(session_.messages().Undo(), "");
  EXPECT_EQ(Roles(session_), "s");
  EXPECT_EQ(session_.messages().LastUserText(), "");
}

TEST_P(ChatSessionTest, ClearKeepsTheSystemMessageAndSetSystemReplacesIt) {
  session_.messages().SetSystem("A");
  session_.Say("One", nullptr);
  session_.messages().Clear();
  EXPECT_EQ(Roles(session_), "s");
  session_.messages().SetSystem("B");
  EXPECT_EQ(session_.messages().json().AsArray()[0].Find("content")->AsString(), "B");
  EXPECT_EQ(Roles(session_), "s");
  // A changed system message: nothing of the kept states fits beyond what is really shared, and the
  // answer is a fresh one's.
  const Generated changed = session_.Say("One", nullptr);
  Engine fresh_engine(opened_.model.get());
  ChatSession fresh(&opened_, &fresh_engine);
  Apply(GetParam(), &fresh);
  fresh.messages().SetSystem("B");
  EXPECT_EQ(changed.ids, fresh.Say("One", nullptr).ids);
  session_.messages().SetSystem("");
  EXPECT_EQ(Roles(session_), "ua");
  session_.messages().Clear();
  EXPECT_EQ(Roles(session_), "");
}

TEST_P(ChatSessionTest, AnErrorLeavesTheConversationAsItWas) {
  EXPECT_THROW(session_.Regenerate(nullptr), Error);
  session_.Say("One", nullptr);
  const Json before = session_.messages().json();
  std::string flood;
  for (int i = 0; i < 2000; ++i) flood += " word";
  EXPECT_THROW(session_.Say(flood, nullptr), Error);
  EXPECT_EQ(session_.messages().json(), before);
  const auto fail = [](const ReasoningSplitter::Piece&) {
    throw RuntimeError("the reader is gone");
  };
  EXPECT_THROW(session_.Say("Two", fail), Error);
  EXPECT_EQ(session_.messages().json(), before);
  EXPECT_THROW(session_.Regenerate(fail), Error);
  EXPECT_EQ(session_.messages().json(), before);
  EXPECT_FALSE(session_.Say("Two", nullptr).ids.empty());
}

TEST_P(ChatSessionTest, StreamedPiecesAddUpAndCancellingKeepsWhatWasSaid) {
  std::string reasoning, answer;
  const Generated whole = session_.Say("One", [&](const ReasoningSplitter::Piece& piece) {
    reasoning += piece.reasoning, answer += piece.answer;
  });
  EXPECT_EQ(reasoning, whole.reasoning);
  EXPECT_EQ(answer, whole.answer);
  session_.messages().Undo();
  int asked = 0;
  const Generated cut = session_.Say("One", nullptr, [&] { return ++asked > 6; });
  EXPECT_EQ(cut.result.finish, FinishReason::kCancelled);
  EXPECT_LT(cut.ids.size(), whole.ids.size());
  EXPECT_TRUE(std::equal(cut.ids.begin(), cut.ids.end(), whole.ids.begin()));
  EXPECT_EQ(Roles(session_), "ua");
}

INSTANTIATE_TEST_SUITE_P(Templates, ChatSessionTest,
                         ::testing::Values(Setting{"nano2", Thinking::kDefault, -1},
                                           Setting{"nano2", Thinking::kDefault, 4},
                                           Setting{"nano2", Thinking::kDefault, 0},
                                           Setting{"nano2", Thinking::kOff, -1},
                                           Setting{"chatml", Thinking::kDefault, -1}),
                         [](const auto& param_info) {
                           const Setting& s = param_info.param;
                           return std::string(s.chat_template) +
                                  (s.thinking == Thinking::kOff ? "_off" : "") +
                                  (s.budget >= 0 ? "_budget" + std::to_string(s.budget) : "");
                         });

TEST(ChatSession, SetMessagesRefusesWhatIsNoConversation) {
  const Pretrained& opened = Opened("chatml");
  Engine engine(opened.model.get());
  ChatSession session(&opened, &engine);
  const auto message = [&](const std::string& json) -> std::string {
    try {
      session.messages().Set(ParseJson(json, "f"));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadFile);
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(
      message(
          R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "x": 1}])"),
      "");
  EXPECT_EQ(message(R"({"role": "user"})"),
            "the conversation is object, expected a list of messages");
  EXPECT_EQ(message(R"([{"role": "user", "content": "a"}, {"role": "user"}])"),
            "message 1 has no content that is a string");
  EXPECT_EQ(message(R"([{"content": "a"}])"), "message 0 has no role that is a string");
  EXPECT_EQ(message(R"([{"role": 1, "content": "a"}])"), "message 0 has no role that is a string");
  EXPECT_NE(message("[1]"), "");
  EXPECT_EQ(Roles(session), "ua") << "a refused conversation changes nothing";
}

TEST(Thinking, ForcedClosingShowsInTextCountsAndReason) {
  const Pretrained& opened = Opened("nano2");
  Engine engine(opened.model.get());
  Json messages = Json::MakeArray();
  Json user = Json::MakeObject();
  user.Set("role", "user");
  user.Set("content", "Hi");
  messages.Append(user);
  const Prompt prompt = EncodeChat(opened, messages);
  ASSERT_EQ(prompt.mode, ReasoningSplitter::Mode::kThink);
  GenerateOptions options;
  options.max_new_tokens = 64;
  options.sampling.temperature = 0;
  options.ignore_end = true;
  options.thinking_budget = 3;
  const Generated generated = Generate(opened, &engine, prompt, options);
  EXPECT_EQ(generated.ids.size(), 64u);
  EXPECT_NE(generated.text.find("</think>\n\n"), std::string::npos);
  EXPECT_NE(generated.stopped_by, ThinkingBudget::StoppedBy::kNone);
  EXPECT_FALSE(generated.answer.empty());
  EXPECT_EQ(generated.answer.find("</think>"), std::string::npos);
  size_t forced = 0;
  for (const double logprob : generated.logprobs) forced += std::isnan(logprob) ? 1 : 0;
  EXPECT_GT(forced, 0u);
  EXPECT_LE(generated.reasoning_tokens,
            3 + 16 + 3 + forced);  // budget, grace, the end of a character
  EXPECT_GE(generated.reasoning_tokens, 3 + forced);
  // Too short for a reserve: the limit cuts the reasoning, and the result says so.
  options.max_new_tokens = 3;
  options.thinking_budget = -1;
  const Generated cut = Generate(opened, &engine, prompt, options);
  EXPECT_EQ(cut.stopped_by, ThinkingBudget::StoppedBy::kLength);
  EXPECT_EQ(cut.answer, "");
}

TEST(EncodeChat, AnOpenFinalMessageEndsThePrompt) {
  const Json messages = ParseJson(
      R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"It is "}])", "test");
  const ChatPromptOptions open{.add_generation_prompt = false, .continues_final = true};
  const Pretrained& plain = Opened("chatml");
  const std::string whole = RenderChat(plain, messages, {.add_generation_prompt = false});
  const std::string cut = RenderChat(plain, messages, open);
  EXPECT_TRUE(cut.ends_with("It is"));
  EXPECT_TRUE(whole.starts_with(cut));
  EXPECT_LT(cut.size(), whole.size());
  const Pretrained& thinks = Opened("nano2");
  EXPECT_EQ(EncodeChat(thinks, messages, open).mode, ReasoningSplitter::Mode::kThink)
      << "the template opens the tag before the last message";
  Json closed = messages;
  closed.AsArray().back().Set("content", "a</think>b");
  EXPECT_EQ(EncodeChat(thinks, closed, open).mode, ReasoningSplitter::Mode::kOff);
  // A template that leaves all reasoning out: the message stands behind the prompt that opens its turn, tags as tags.
  const Pretrained nano = OpenPretrained(PLANISH_SOURCE_DIR "/models/planish-nano");
  const Json question =
      ParseJson(R"([{"role":"user","content":"Hi"},{"role":"assistant","content":""}])", "test");
  for (const char* given :
       {"<think>\\nA <|end|> b.\\n</think>\\n\\nIt is", "A <|end|> b.\\n</think>\\n\\nIt is"}) {
    Json reasoned = question;
    reasoned.AsArray().back().Set("content", ParseJson(fmt::format("\"{}\"", given), "test"));
    EXPECT_EQ(RenderChat(nano, reasoned, open),
              "<|user|>Hi<|end|><|assistant|><think>\nA <|end|> b.\n</think>\n\nIt is");
    const Prompt prompt = EncodeChat(nano, reasoned, open);
    EXPECT_EQ(prompt.mode, ReasoningSplitter::Mode::kOff);
    const auto count = [&](const char* tag) {
      return std::count(prompt.ids.begin(), prompt.ids.end(), nano.tokenizer->Find(tag).value());
    };
    EXPECT_EQ(count("</think>"), 1);
    EXPECT_EQ(count("<|end|>"), 1) << "of the template alone";
  }
  Json none = messages;
  none.AsArray().pop_back();
  EXPECT_THROW(EncodeChat(plain, none, open), Error);
}

}  // namespace
}  // namespace planish
