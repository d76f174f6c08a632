// SPDX-License-Identifier: Apache-2.0
#include "problems/tool_dialogues.h"

#include <span>

#include "base/error.h"
#include "problems/draw.h"
#include "problems/phrase.h"
#include "problems/small_talk.h"
#include "problems/tool_words.h"
#include "text/demo_tools.h"

namespace planish {
namespace {

constexpr uint64_t kDialogueStream = uint64_t{5} << 61;

constexpr const char* kWeather = "get_current_weather";
constexpr const char* kCharacter = "describe_harry_potter_character";
constexpr const char* kColor = "name_a_color";

// One thing that is asked for, what the tool gets for it, and the lines of reasoning before the call.
struct Wish {
  std::string subject;  // as the user names it: "Paris", "Hermione", "#1e90ff"
  ToolCall call;
  std::string notes;
};

class Dialogue {
 public:
  Dialogue(Draw* draw, Split split, bool thinks) : draw_(draw), split_(split), thinks_(thinks) {
    date_ = fmt::format("{}-{:02}-{:02}", draw->Between(2023, 2028), draw->Between(1, 12),
                        draw->Between(1, 28));
  }

  ToolDialogue Make() {
    const int64_t kind = draw_->Between(0, 99);
    if (kind < 12) {
      Unneeded();
    } else if (kind < 22) {
      Two();
    } else {
      const char* tool = kind < 52 ? kWeather : kind < 76 ? kCharacter : kColor;
      const Wish wish = Ask(tool);
      Answer({wish});
      if (draw_->Chance(18)) FollowUp(tool);
    }
    return {.tools = Offered(), .messages = Json(std::move(messages_)), .calls = std::move(calls_)};
  }

 private:
  std::string Fill(std::span<const char* const> frames, const std::string& subject,
                   const std::string& second = {}) {
    slots_.Set("x", subject);
    slots_.Set("y", second);
    return WithCapitals(slots_.Fill(frames[FrameIndex(frames.size(), split_, draw_)], draw_));
  }

  // Small letters and missing marks, as people type.
  void User(std::string text) {
    if (draw_->Chance(12) && (text.back() == '?' || text.back() == '.')) text.pop_back();
    Json message = Json::MakeObject();
    message.Set("role", "user");
    message.Set("content", std::move(text));
    messages_.push_back(std::move(message));
  }

  void Assistant(const std::string& reasoning, const std::string& content,
                 const std::vector<ToolCall>& calls = {}) {
    Json message = Json::MakeObject();
    message.Set("role", "assistant");
    if (thinks_) message.Set("reasoning_content", reasoning);
    message.Set("content", content);
    if (!calls.empty()) {
      Json list = Json::MakeArray();
      for (const ToolCall& call : calls) {
        Json function = Json::MakeObject();
        function.Set("name", call.name);
        function.Set("arguments", call.arguments);
        Json one = Json::MakeObject();
        one.Set("id", fmt::format("call_{}", ++call_count_));
        one.Set("type", "function");
        one.Set("function", std::move(function));
        list.Append(std::move(one));
      }
      message.Set("tool_calls", std::move(list));
    }
    messages_.push_back(std::move(message));
  }

  Wish WeatherWish(std::string* format_clause) {
    Wish wish{.call = {.name = kWeather}};
    Json arguments = Json::MakeObject();
    wish.subject = draw_->Chance(6) ? "" : PlaceName(split_, draw_);
    if (!wish.subject.empty()) {
      arguments.Set("location", wish.subject);
      wish.notes = "\nlocation: " + wish.subject;
    }
    if (draw_->Chance(35)) {
      const bool is_celsius = draw_->Chance(50);
      *format_clause = Fill(is_celsius ? kCelsiusClauses : kFahrenheitClauses, "");
      arguments.Set("format", is_celsius ? "celsius" : "fahrenheit");
      wish.notes += is_celsius ? "\nformat: celsius" : "\nformat: fahrenheit";
    }
    wish.call.arguments = DumpJson(arguments, JsonStyle::kPython);
    return wish;
  }

  Wish Simple(const char* tool, const char* key, std::string subject, const std::string& value) {
    Json arguments = Json::MakeObject();
    arguments.Set(key, value);
    return {.subject = std::move(subject),
            .call = {.name = tool, .arguments = DumpJson(arguments, JsonStyle::kPython)},
            .notes = fmt::format("\n{}: {}", key, value)};
  }

  Wish MakeWish(const char* tool, std::string* clause) {
    if (tool == kWeather) return WeatherWish(clause);
    if (tool == kCharacter) {
      const std::string name = draw_->Of(DemoCharacters());
      return Simple(kCharacter, "name", CalledName(name, draw_), name);
    }
    const std::string hex = HexColor(split_, draw_);
    return Simple(kColor, "color_hex", draw_->Chance(15) ? hex.substr(1) : hex, hex);
  }

  Wish Ask(const char* tool) {
    needed_ = {tool};
    std::string clause;
    const Wish wish = MakeWish(tool, &clause);
    std::string text;
    if (tool == kWeather) {
      text = wish.subject.empty() ? Fill(kWeatherHere, "") : Fill(kWeatherQuestions, wish.subject);
      if (!clause.empty()) {
        const char mark = text.back();
        text.pop_back();
        text += clause + mark;
      }
    } else {
      text = Fill(tool == kCharacter ? kCharacterQuestions : kColorQuestions, wish.subject);
    }
    User(std::move(text));
    return wish;
  }

  void Two() {
    const char* tool = draw_->Chance(50) ? kWeather : draw_->Chance(50) ? kCharacter : kColor;
    needed_ = {tool};
    std::string clause;
    Wish first = MakeWish(tool, &clause), second = MakeWish(tool, &clause);
    if (first.subject.empty() || second.subject.empty() || first.subject == second.subject ||
        !clause.empty()) {
      Answer({Ask(kColor)});
      return;
    }
    const auto frames = tool == kWeather     ? kTwoPlaces
                        : tool == kCharacter ? kTwoCharacters
                                             : kTwoColors;
    User(Fill(frames, first.subject, second.subject));
    Answer({first, second});
  }

  void FollowUp(const char* tool) {
    std::string clause;
    const Wish wish = MakeWish(tool, &clause);
    if (wish.subject.empty() || !clause.empty()) return;
    User(Fill(kFollowUps, wish.subject));
    Answer({wish});
  }

  void Unneeded() {
    const std::string tools[] = {kWeather, kCharacter, kColor};
    needed_ = {draw_->Of(tools)};
    SmallTalk talk = MakeSmallTalk(draw_, split_);
    User(std::move(talk.question));
    Assistant("no tool is needed\n" + talk.thinking, talk.answer);
  }

  // Calls, results, and the answer made of them.
  void Answer(const std::vector<Wish>& wishes) {
    std::string notes;
    std::vector<ToolCall> calls;
    for (const Wish& wish : wishes) {
      notes += (notes.empty() ? "tool: " : "\ntool: ") + wish.call.name + wish.notes;
      calls.push_back(wish.call);
    }
    Assistant(notes, "", calls);
    const int first_id = call_count_ - static_cast<int>(calls.size()) + 1;
    std::string seen, answer;
    for (size_t i = 0; i < calls.size(); ++i) {
      const std::string result = RunDemoToolCall(calls[i].name, calls[i].arguments, date_);
      Json message = Json::MakeObject();
      message.Set("role", "tool");
      message.Set("tool_call_id", fmt::format("call_{}", first_id + static_cast<int>(i)));
      message.Set("content", result);
      messages_.push_back(std::move(message));
      const Json parsed = ParseJson(result, "tool result");
      seen += (i ? "\n" : "") + Seen(calls[i].name, parsed);
      answer += (i ? " " : "") + Said(calls[i].name, parsed);
    }
    Assistant(seen, answer);
    if (calls_.empty()) calls_ = std::move(calls);
  }

  static std::string Text(const Json& result, const char* key) {
    const Json& value = *result.Find(key);
    return value.is_string() ? value.AsString() : DumpJson(value, JsonStyle::kPython);
  }

  // What of a result matters, for the reasoning.
  static std::string Seen(const std::string& tool, const Json& result) {
    if (result.Find("error") != nullptr) return "error";
    if (tool == kWeather) {
      return fmt::format("temperature: {} {}\ncondition: {}", Text(result, "temperature"),
                         Text(result, "format"), Text(result, "condition"));
    }
    if (tool == kCharacter) return "house: " + Text(result, "house");
    return "name: " + Text(result, "name");
  }

  std::string Said(const std::string& tool, const Json& result) {
    if (result.Find("error") != nullptr)
      return fmt::format("Sorry, that did not work: {}.", Text(result, "error"));
    if (tool == kWeather) {
      return fmt::format("In {} it is {} degrees {} and {}.", Text(result, "location"),
                         Text(result, "temperature"),
                         Text(result, "format") == "celsius" ? "Celsius" : "Fahrenheit",
                         ConditionInWords(Text(result, "condition")));
    }
    if (tool == kCharacter) {
      return fmt::format("{} ({}, house: {}). {}", Text(result, "name"), Text(result, "role"),
                         Text(result, "house"), Text(result, "description"));
    }
    return fmt::format("The color {} is called {}.", Text(result, "color_hex"),
                       Text(result, "name"));
  }

  // All three tools as the program offers them, or some of them in another order.
  Json Offered() {
    const std::vector<Json>& all = DemoTools().AsArray();
    if (draw_->Chance(60)) return DemoTools();
    std::vector<Json> some;
    for (const Json& tool : all) {
      const std::string& name = tool.Find("function")->Find("name")->AsString();
      if (name == needed_ || draw_->Chance(50)) some.push_back(tool);
    }
    draw_->Shuffle(&some);
    return Json(std::move(some));
  }

  Draw* draw_;
  Split split_;
  bool thinks_;
  Slots slots_;
  std::string date_, needed_;
  std::vector<Json> messages_;
  std::vector<ToolCall> calls_;
  int call_count_ = 0;
};

}  // namespace

ToolDialogue MakeToolDialogue(uint64_t seed, uint64_t index, Split split, bool thinks) {
  Draw draw(seed, kDialogueStream + index);
  return Dialogue(&draw, split, thinks).Make();
}

std::string ToolChatRow(uint64_t seed, uint64_t index, bool thinks) {
  ToolDialogue dialogue = MakeToolDialogue(seed, index, Split::kTrain, thinks);
  Json row = Json::MakeObject();
  row.Set("messages", std::move(dialogue.messages));
  row.Set("tools", std::move(dialogue.tools));
  row.Set("enable_thinking", thinks);
  return DumpJson(row);
}

std::string ToolTestRow(uint64_t seed, uint64_t index) {
  ToolDialogue dialogue = MakeToolDialogue(seed, index, Split::kTest, /*thinks=*/true);
  Json calls = Json::MakeArray();
  for (const ToolCall& call : dialogue.calls) {
    Json one = Json::MakeObject();
    one.Set("name", call.name);
    one.Set("arguments", ParseJson(call.arguments, "arguments"));
    calls.Append(std::move(one));
  }
  Json row = Json::MakeObject();
  row.Set("question", *dialogue.messages.AsArray()[0].Find("content"));
  row.Set("tools", std::move(dialogue.tools));
  row.Set("calls", std::move(calls));
  return DumpJson(row);
}

}  // namespace planish
