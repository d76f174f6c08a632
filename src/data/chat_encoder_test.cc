// SPDX-License-Identifier: Apache-2.0
#include "data/chat_encoder.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "data/chat_testing.h"

namespace planish {
namespace {

using Texts = std::vector<std::string>;
using testing::TestFormat;

struct Decoded {
  std::string all;  // of the sample
  Texts trained;    // runs of trained tokens
  bool operator==(const Decoded&) const = default;
};

Decoded Decode(const Tokenizer& tokenizer, const MaskedTokens& sample) {
  EXPECT_EQ(sample.mask.size(), sample.ids.size());
  Decoded out;
  out.all = tokenizer.Decode(sample.ids);
  size_t trained_bytes = 0;
  for (size_t t = 0; t < sample.ids.size();) {
    size_t end = t;
    while (end < sample.ids.size() && sample.mask[end] == sample.mask[t]) ++end;
    if (sample.mask[t] == 1) {
      out.trained.push_back(tokenizer.Decode(std::span(sample.ids).subspan(t, end - t)));
      trained_bytes += out.trained.back().size();
    }
    t = end;
  }
  EXPECT_EQ(sample.trained_bytes, trained_bytes);
  return out;
}

std::vector<Decoded> EncodeWith(const ChatFormat& format, const std::string& line,
                                TrainedTurns turns = TrainedTurns::kAll) {
  const ChatEncoder encoder(format);
  std::vector<Decoded> out;
  for (const MaskedTokens& sample : encoder.Encode(ParseDialogue(line, "line"), turns).samples)
    out.push_back(Decode(*format.tokenizer, sample));
  return out;
}

TEST(ChatEncoder, TurnsOfAPlainTemplateShareOneSample) {
  const ChatFormat format = TestFormat("chat/chatml");
  const std::string line =
      R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":"1+1?"},)"
      R"({"role":"assistant","content":"2"},{"role":"user","content":"2+2?"},)"
      R"({"role":"assistant","content":" 4 "},{"role":"user","content":"thanks"}]})";
  const std::string all =
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
      "2<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n 4 <|im_end|>";
  EXPECT_EQ(EncodeWith(format, line),
            (std::vector<Decoded>{{all, {"2<|im_end|>", " 4 <|im_end|>"}}}));
  EXPECT_EQ(EncodeWith(format, line, TrainedTurns::kLast),
            (std::vector<Decoded>{{all, {" 4 <|im_end|>"}}}));
}

// An answer that begins with a newline would merge with the newline of its frame: it is still trained as it is generated.
TEST(ChatEncoder, TurnsThatTokenizeOtherwiseInHistoryGetTheirOwnSample) {
  const ChatFormat format = TestFormat("chat/chatml");
  const auto samples = EncodeWith(
      format,
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"\n\nb"},)"
      R"({"role":"user","content":"c"},{"role":"assistant","content":"d"}]})");
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].trained, Texts{"\n\nb<|im_end|>"});
  EXPECT_EQ(samples[1].trained, Texts{"d<|im_end|>"});
}

TEST(ChatEncoder, ToolCallsAreTrainedWithTheirMarkupAndResultsAreNot) {
  const std::string line =
      R"({"messages":[{"role":"user","content":"w?"},{"role":"assistant","content":"","tool_calls":)"
      R"([{"type":"function","function":{"name":"get","arguments":{"city":"Paris"}}}]},)"
      R"({"role":"tool","content":"{\"t\": 21}"},{"role":"assistant","content":"21 degrees"}],)"
      R"("tools":[{"type":"function","function":{"name":"get"}}]})";
  const auto llama = EncodeWith(TestFormat("chat/llama31"), line);
  ASSERT_EQ(llama.size(), 1u);
  EXPECT_EQ(llama[0].trained,
            (Texts{R"({"name": "get", "parameters": {"city": "Paris"}}<|eot_id|>)",
                   "21 degrees<|eot_id|>"}));
  const auto nano = EncodeWith(TestFormat("chat/nano2"), line);
  ASSERT_EQ(nano.size(), 2u);  // the history lacks the prefilled <think></think>
  EXPECT_EQ(nano[0].trained,
            Texts{R"(<TOOLCALL>[{"name": "get", "arguments": {"city": "Paris"}}]</TOOLCALL>)"
                  "<SPECIAL_12>"});
  EXPECT_TRUE(nano[0].all.find("<SPECIAL_11>Assistant\n<think></think><TOOLCALL>") !=
              std::string::npos);
  EXPECT_EQ(nano[1].trained, Texts{"21 degrees\n<SPECIAL_12>"});
  const auto qwen = EncodeWith(TestFormat("jinja/qwen3_style"), line);
  ASSERT_FALSE(qwen.empty());
  Texts trained;
  for (const Decoded& sample : qwen)
    trained.insert(trained.end(), sample.trained.begin(), sample.trained.end());
  EXPECT_EQ(trained,
            (Texts{"<tool_call>\n{\"name\": \"get\", \"arguments\": {\"city\": \"Paris\"}}\n"
                   "</tool_call><|im_end|>",
                   "21 degrees<|im_end|>"}));
}

TEST(ChatEncoder, AFrameBetweenAnswerAndToolCallIsNotTrained) {
  const auto samples = EncodeWith(
      TestFormat("chat/nano2"),
      R"({"messages":[{"role":"user","content":"w?"},{"role":"assistant","content":"Let me see.",)"
      R"("reasoning_content":"hm","tool_calls":[{"function":{"name":"get","arguments":"{}"}}]}]})");
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(samples[0].trained,
            (Texts{"hm\n</think>\n\nLet me see.\n<SPECIAL_12>",
                   "<TOOLCALL>[{\"name\": \"get\", \"arguments\": {}}]</TOOLCALL><SPECIAL_12>"}));
}

constexpr const char* kTwoTurns =
    R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"A",)"
    R"("reasoning_content":"ra"},{"role":"user","content":"b"},{"role":"assistant",)"
    R"("content":"<think>\nrb\n</think>\n\nB"}]%s})";

std::string TwoTurns(const std::string& more) {
  std::string line = kTwoTurns;
  return line.replace(line.find("%s"), 2, more);
}

TEST(ChatEncoder, ReasoningIsTrainedInItsOwnTurnAndGoneFromLaterPrompts) {
  const auto nano = EncodeWith(TestFormat("chat/nano2"), TwoTurns(""));
  ASSERT_EQ(nano.size(), 2u);
  EXPECT_EQ(nano[0],
            (Decoded{"<SPECIAL_10>System\n\n\n<SPECIAL_11>User\na\n<SPECIAL_11>Assistant\n<think>\n"
                     "ra\n</think>\n\nA\n<SPECIAL_12>",
                     {"ra\n</think>\n\nA\n<SPECIAL_12>"}}));
  EXPECT_EQ(nano[1],
            (Decoded{"<SPECIAL_10>System\n\n\n<SPECIAL_11>User\na\n<SPECIAL_11>Assistant\nA\n"
                     "<SPECIAL_12>\n<SPECIAL_11>User\nb\n<SPECIAL_11>Assistant\n<think>\n"
                     "rb\n</think>\n\nB\n<SPECIAL_12>",
                     {"rb\n</think>\n\nB\n<SPECIAL_12>"}}));
  const auto qwen = EncodeWith(TestFormat("jinja/qwen3_style"), TwoTurns(""));
  ASSERT_EQ(qwen.size(), 2u);
  EXPECT_EQ(qwen[0].trained, Texts{"<think>\nra\n</think>\n\nA<|im_end|>"});
  EXPECT_EQ(qwen[1], (Decoded{"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
                              "<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n"
                              "<think>\nrb\n</think>\n\nB<|im_end|>",
                              {"<think>\nrb\n</think>\n\nB<|im_end|>"}}));
  const auto r1 = EncodeWith(TestFormat("jinja/r1_style"), TwoTurns(""));
  ASSERT_EQ(r1.size(), 2u);
  EXPECT_EQ(r1[1], (Decoded{"<|User|>a<|Assistant|>A<|end|><|User|>b<|Assistant|><think>\n"
                            "rb\n</think>\n\nB<|end|>",
                            {"rb\n</think>\n\nB<|end|>"}}));
}

TEST(ChatEncoder, WithThinkingOffReasoningIsLeftOutAndThePrefilledTagsAreMasked) {
  const std::string off = TwoTurns(R"(,"enable_thinking":false)");
  const auto nano = EncodeWith(TestFormat("chat/nano2"), off);
  ASSERT_EQ(nano.size(), 2u);
  EXPECT_EQ(nano[1].trained, Texts{"B\n<SPECIAL_12>"});
  EXPECT_TRUE(nano[1].all.ends_with("<SPECIAL_11>Assistant\n<think></think>B\n<SPECIAL_12>"));
  const auto qwen = EncodeWith(TestFormat("jinja/qwen3_style"), off);
  ASSERT_EQ(qwen.size(), 2u);
  EXPECT_EQ(qwen[0].trained, Texts{"A<|im_end|>"});
  EXPECT_TRUE(qwen[0].all.ends_with("assistant\n<think>\n\n</think>\n\nA<|im_end|>"));
  const auto r1 = EncodeWith(TestFormat("jinja/r1_style"), off);
  EXPECT_EQ(r1[1].trained, Texts{"B<|end|>"});
  EXPECT_TRUE(r1[1].all.ends_with("<|Assistant|><think>\n\n</think>\n\nB<|end|>"));
  // The same prompts without any reasoning choose the mode by themselves.
  const auto plain = EncodeWith(
      TestFormat("chat/nano2"),
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"A"}]})");
  ASSERT_EQ(plain.size(), 1u);
  EXPECT_TRUE(plain[0].all.ends_with("Assistant\n<think></think>A\n<SPECIAL_12>"));
}

TEST(ChatEncoder, TurnsWithoutReasoningAreNotTrainedAsThinking) {
  for (const char* name : {"chat/nano2", "jinja/qwen3_style", "jinja/r1_style"}) {
    const ChatEncoder encoder(TestFormat(name));
    const EncodedDialogue encoded = encoder.Encode(
        ParseDialogue(R"({"messages":[{"role":"user","content":"a"},{"role":"assistant",)"
                      R"("content":"A"}],"enable_thinking":true})",
                      "line"),
        TrainedTurns::kAll);
    EXPECT_TRUE(encoded.samples.empty()) << name;
    EXPECT_EQ(encoded.turns_without_reasoning, 1u) << name;
  }
}

TEST(ChatEncoder, ACommandInTheUsersTextDecides) {
  const auto samples =
      EncodeWith(TestFormat("chat/nano2"),
                 R"({"messages":[{"role":"user","content":"a /no_think"},{"role":"assistant",)"
                 R"("content":"A","reasoning_content":"r"}]})");
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(samples[0],
            (Decoded{"<SPECIAL_10>System\n\n\n<SPECIAL_11>User\na\n<SPECIAL_11>Assistant\n"
                     "<think></think>A\n<SPECIAL_12>",
                     {"A\n<SPECIAL_12>"}}));
}

TEST(ChatEncoder, TagsAreTokensInReasoningAndPlainTextInContents) {
  const ChatFormat format = TestFormat("jinja/qwen3_style");
  const ChatEncoder encoder(format);
  const auto ids_of = [&](const std::string& line) {
    return encoder.Encode(ParseDialogue(line, "line"), TrainedTurns::kAll).samples.at(0).ids;
  };
  const auto count = [&](const std::vector<TokenId>& ids, const char* token) {
    return std::count(ids.begin(), ids.end(), *format.tokenizer->Find(token));
  };
  const auto ids =
      ids_of(R"({"messages":[{"role":"user","content":"<|im_end|><think>"},{"role":"assistant",)"
             R"("content":"<|im_end|>b<think>","reasoning_content":"r<|im_end|>"}]})");
  EXPECT_EQ(count(ids, "<think>"), 1);
  EXPECT_EQ(count(ids, "</think>"), 1);
  EXPECT_EQ(count(ids, "<|im_end|>"), 2);
  EXPECT_EQ(ids.back(), *format.tokenizer->Find("<|im_end|>"));
}

TEST(ChatEncoder, AForcedCloseTrainsTheAnswerAlone) {
  const auto samples =
      EncodeWith(TestFormat("chat/nano2"),
                 R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"A",)"
                 R"("reasoning_content":"cut off.","train_reasoning":false}]})");
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_TRUE(samples[0].all.ends_with("<think>\ncut off.\n</think>\n\nA\n<SPECIAL_12>"));
  EXPECT_EQ(samples[0].trained, Texts{"A\n<SPECIAL_12>"});
  const auto none =
      EncodeWith(TestFormat("jinja/qwen3_style"),
                 R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"A",)"
                 R"("reasoning_content":"","train_reasoning":false}]})");
  ASSERT_EQ(none.size(), 1u);
  EXPECT_TRUE(none[0].all.ends_with("assistant\n<think>\n</think>\n\nA<|im_end|>"));
  EXPECT_EQ(none[0].trained, Texts{"A<|im_end|>"});
}

TEST(ChatEncoder, TheFirstEndIdThatTheModelNamesEndsTheAnswer) {
  ChatFormat format = TestFormat("chat/chatml");
  format.chat_template = ChatTemplate::Parse(
      "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ "
      "'<|eot_id|><|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}"
      "{{ '<|im_start|>assistant\n' }}{% endif %}",
      "t");
  const std::string line =
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"A"}]})";
  EXPECT_EQ(EncodeWith(format, line).at(0).trained, Texts{"A<|eot_id|>"});
  format.end_ids = {*format.tokenizer->Find("<|im_end|>")};
  EXPECT_EQ(EncodeWith(format, line).at(0).trained, Texts{"A<|eot_id|><|im_end|>"});
}

TEST(ChatEncoder, TemplatesWithoutMarksOrPromptsStillMaskTheirFrame) {
  ChatFormat format = TestFormat("chat/chatml");
  format.chat_template = ChatTemplate::Parse(
      "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ ' ;\n' }}{% endfor %}", "t");
  const auto samples = EncodeWith(
      format, R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"A"}]})");
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(samples[0], (Decoded{"user: a ;\nassistant: A ;", {"A ;"}}));
}

TEST(ChatEncoder, EmptyAnswersAndDialoguesWithoutAnswersGiveNothing) {
  const ChatEncoder encoder(TestFormat("chat/chatml"));
  const EncodedDialogue encoded = encoder.Encode(
      ParseDialogue(R"({"messages":[{"role":"user","content":"a"},{"role":"assistant",)"
                    R"("content":""},{"role":"user","content":"b"}]})",
                    "line"),
      TrainedTurns::kAll);
  EXPECT_TRUE(encoded.samples.empty());
  EXPECT_EQ(encoded.empty_turns, 1u);
}

TEST(ChatEncoder, TemplatesThatContradictTheirPromptAreErrors) {
  ChatFormat format = TestFormat("chat/chatml");
  const std::string line =
      R"({"messages":[{"role":"user","content":"abc"},{"role":"assistant","content":"A"}]})";
  format.chat_template = ChatTemplate::Parse(
      "{% for m in messages %}{{ m.role ~ (m.content if messages|length < 2 else m.content|upper) "
      "}}{% endfor %}{% if add_generation_prompt %}assistant{% endif %}",
      "t");
  try {
    EncodeWith(format, line);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "the chat template renders what precedes messages[1] otherwise than its prompt");
  }
  format.chat_template = ChatTemplate::Parse(
      "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "t");
  EXPECT_THROW(EncodeWith(format, line), Error);
}

// Every conversation of the golden set: prompts and completions rendered by transformers, masks against the contents.
TEST(ChatEncoder, GoldenConversationsTrainExactlyContentsAndEndMarks) {
  const std::string path = testing::GoldenDir() + "/chat/chat.json";
  const Json golden = ParseJson(ReadFile(path, 64u << 20), path);
  size_t answers = 0, whole_texts = 0, without_reasoning = 0;
  for (const auto& [name, cases] : golden.Find("templates")->AsObject()) {
    const ChatFormat format = TestFormat("chat/" + name);
    const ChatEncoder encoder(format);
    const std::string end = name == "chatml"  ? "<|im_end|>"
                            : name == "nano2" ? "\n<SPECIAL_12>"
                                              : "<|eot_id|>";
    for (const Json& item : cases.AsArray()) {
      Json line = Json::MakeObject();
      line.Set("messages", *item.Find("messages"));
      if (!item.Find("tools")->is_null()) line.Set("tools", *item.Find("tools"));
      const Dialogue dialogue = ParseDialogue(DumpJson(line), path);
      Texts trained, expected;
      std::string last;
      const EncodedDialogue encoded = encoder.Encode(dialogue, TrainedTurns::kAll);
      for (const MaskedTokens& sample : encoded.samples) {
        const Decoded decoded = Decode(*format.tokenizer, sample);
        trained.insert(trained.end(), decoded.trained.begin(), decoded.trained.end());
        last = decoded.all;
      }
      for (const Json& message : dialogue.messages.AsArray()) {
        if (!HasRole(message, "assistant")) continue;
        std::string content = message.Find("content")->AsString();
        if (message.Find("tool_calls") != nullptr) continue;  // see below
        if (name != "chatml") {
          content.erase(0, content.find_first_not_of(' '));
          content.erase(content.find_last_not_of(' ') + 1);
        }
        // chatml and llama31 templates know nothing of thinking: it stands in front.
        const std::string reasoning = ReasoningOf(message);
        if (!reasoning.empty())
          content = (name == "nano2" ? "" : "<think>\n") + reasoning + "\n</think>\n\n" + content;
        expected.push_back(content + end);
      }
      Texts without_calls;
      for (const std::string& text : trained) {
        if (text.starts_with("{\"name\"") || text.starts_with("<TOOLCALL>")) {
          EXPECT_TRUE(text.ends_with(name == "nano2" ? "</TOOLCALL><SPECIAL_12>" : "}<|eot_id|>"));
        } else {
          without_calls.push_back(text);
        }
      }
      if (encoded.turns_without_reasoning == 0) {
        EXPECT_EQ(without_calls, expected) << name << " " << item.Find("case")->AsString();
      } else {  // "/think" in the user's text, but the answer has no reasoning
        EXPECT_EQ(name, "nano2");
        ++without_reasoning;
      }
      answers += trained.size();
      const bool ends_in_answer = HasRole(dialogue.messages.AsArray().back(), "assistant") &&
                                  !item.Find("add_generation_prompt")->AsBool();
      const std::string& text = item.Find("text")->AsString();
      if (ends_in_answer && text.starts_with(last)) {
        EXPECT_LE(text.size() - last.size(), 2u);  // newlines behind the end mark
        ++whole_texts;
      }
    }
  }
  EXPECT_GE(answers, 25u);
  EXPECT_GE(whole_texts, 5u);
  EXPECT_LE(without_reasoning, 1u);
}

}  // namespace
}  // namespace planish
