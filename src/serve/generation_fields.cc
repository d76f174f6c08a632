// SPDX-License-Identifier: Apache-2.0
#include "serve/generation_fields.h"

#include <sys/random.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace planish {
namespace {

constexpr size_t kStopBytes = 1024;

std::vector<std::string> ReadStop(Fields* fields) {
  const Json* stop = fields->Find("stop");
  std::vector<std::string> found;
  if (stop == nullptr) return found;
  const auto add = [&](const Json& text) {
    if (!text.is_string() || text.AsString().size() > kStopBytes)
      throw InvalidValue("stop", "stop is no string or list of strings of at most {} bytes",
                         kStopBytes);
    if (!text.AsString().empty()) found.push_back(text.AsString());
  };
  if (!stop->is_array()) {
    add(*stop);
    return found;
  }
  if (stop->AsArray().size() > kStopStrings)
    throw InvalidValue("stop", "stop has {} strings, at most {} are taken", stop->AsArray().size(),
                       kStopStrings);
  for (const Json& text : stop->AsArray()) add(text);
  return found;
}

void ReadLogitBias(Fields* fields, size_t vocab_size, SamplingParams* sampling) {
  const Json* bias = fields->Find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object())
    throw InvalidValue("logit_bias", "logit_bias is {}, expected an object", bias->type_name());
  for (const auto& [key, value] : bias->AsObject()) {
    size_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id >= vocab_size)
      throw InvalidValue("logit_bias", "logit_bias has the key {}, expected token ids from 0 to {}",
                         Quoted(key, 40), vocab_size - 1);
    if (!value.is_number() || !(std::abs(value.AsDouble()) <= 100))
      throw InvalidValue("logit_bias", "logit_bias of {} is not a number from -100 to 100", id);
    sampling->logit_bias.emplace_back(static_cast<int32_t>(id),
                                      static_cast<float>(value.AsDouble()));
  }
}

uint64_t RandomSeed() {
  uint64_t seed = 0;
  PLANISH_CHECK(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
  return seed;
}

// All spellings of one number; the first one's name is kept for the message.
struct Agreed {
  std::optional<int64_t> value;
  std::string name;

  void Take(const std::string& other_name, int64_t other) {
    if (value && *value != other)
      throw InvalidValue(other_name, "{} is {}, but {} is {}: they mean the same", other_name,
                         other, name, *value);
    value = other;
    name = other_name;
  }
};

constexpr const char* kBudgetNames[] = {"max_thinking_tokens",    "thinking_token_budget",
                                        "thinking_budget_tokens", "reasoning_budget_tokens",
                                        "thinking_budget",        "reasoning_budget"};

void TakeBudgets(Fields* fields, Agreed* budget) {
  for (const char* name : kBudgetNames) {
    const auto value = fields->Int(name, -1, static_cast<int64_t>(limits::kContext));
    if (value) budget->Take(fields->PathOf(name), *value);
  }
}

bool HasCommand(const Json& messages, const ThinkingSupport& support) {
  using Toggle = ThinkingSupport::Toggle;
  if (support.toggle != Toggle::kSlashCommand && support.toggle != Toggle::kDetailedThinking)
    return false;
  const auto has = [&](const std::string& text) {
    return support.toggle == Toggle::kSlashCommand
               ? text.find("/think") != std::string::npos ||
                     text.find("/no_think") != std::string::npos
               : text.find("detailed thinking") != std::string::npos;
  };
  if (!messages.is_array()) return false;
  for (const Json& message : messages.AsArray()) {
    const Json* role = message.Find("role");
    const Json* content = message.Find("content");
    if (role == nullptr || content == nullptr || !content->is_string()) continue;
    if ((*role == Json("system") || *role == Json("user")) && has(content->AsString())) return true;
  }
  return false;
}

}  // namespace

GenerationFields ReadGenerationFields(Fields* fields, const Pretrained& opened,
                                      std::string_view max_name) {
  GenerationFields read;
  const auto context = static_cast<int64_t>(limits::kContext);
  Agreed max_tokens;
  for (const std::string_view name : {max_name, std::string_view("max_tokens")}) {
    if (name.empty()) continue;
    const int64_t least = name == "max_tokens" && max_name.empty() ? 0 : 1;
    if (const auto value = fields->Int(name, least, context))
      max_tokens.Take(std::string(name), *value);
  }
  if (max_tokens.value) read.max_tokens = static_cast<size_t>(*max_tokens.value);

  SamplingParams& sampling = read.sampling;
  sampling = DefaultSampling(opened.generation);
  sampling.temperature = fields->Number("temperature", 0, 100).value_or(sampling.temperature);
  sampling.top_p = fields->Number("top_p", 0, 1).value_or(sampling.top_p);
  const auto vocab_size = static_cast<int64_t>(limits::kVocabSize);
  if (const auto top_k = fields->Int("top_k", -1, vocab_size))  // -1 is vLLM's "all"
    sampling.top_k = std::max<int64_t>(*top_k, 0);
  sampling.min_p = fields->Number("min_p", 0, 1).value_or(sampling.min_p);
  sampling.repetition_penalty =
      fields->Number("repetition_penalty", 0.001, 100).value_or(sampling.repetition_penalty);
  sampling.frequency_penalty = fields->Number("frequency_penalty", -100, 100).value_or(0);
  sampling.presence_penalty = fields->Number("presence_penalty", -100, 100).value_or(0);
  const auto seed = fields->Int("seed", INT64_MIN, INT64_MAX);
  sampling.seed = seed ? static_cast<uint64_t>(*seed) : RandomSeed();
  ReadLogitBias(fields, opened.config.vocab_size, &sampling);

  read.n = static_cast<size_t>(fields->Int("n", 1, kChoicesPerPrompt).value_or(1));
  read.stop = ReadStop(fields);
  read.stop_in_reasoning = fields->Bool("stop_in_reasoning").value_or(false);
  read.ignore_eos = fields->Bool("ignore_eos").value_or(false);
  read.stream = fields->Bool("stream").value_or(false);
  if (auto options = fields->Object("stream_options")) {
    read.include_usage = options->Bool("include_usage").value_or(false);
    read.include_progress = options->Bool("include_progress").value_or(false);
  }
  read.return_token_ids = fields->Bool("return_token_ids").value_or(false);
  read.priority = static_cast<int>(fields->Int("priority", -1000, 1000).value_or(0));
  read.cache_prompt = fields->Bool("cache_prompt").value_or(true);
  read.cache_salt = fields->Text("cache_salt", 256).value_or("");
  read.user = fields->Text("user", 256).value_or("");
  return read;
}

ThinkingFields ReadThinkingFields(Fields* fields, const ThinkingSupport& support,
                                  const ThinkingDefaults& defaults, const Json& messages,
                                  Json* kwargs) {
  ThinkingFields read;
  Agreed budget, grace, least;
  std::optional<bool> enabled;
  TakeBudgets(fields, &budget);
  for (const char* place : {"nvext", "custom_params"}) {
    if (auto inner = fields->Object(place)) TakeBudgets(&*inner, &budget);
  }
  if (auto thinking = fields->Object("thinking")) {
    if (const auto type = thinking->Text("type")) {
      if (*type != "enabled" && *type != "disabled" && *type != "adaptive")
        throw InvalidValue("thinking.type", "thinking.type is {}, expected enabled or disabled",
                           Quoted(*type));
      if (*type != "adaptive") enabled = *type == "enabled";
    }
    if (const auto tokens = thinking->Int("budget_tokens", -1, limits::kContext))
      budget.Take("thinking.budget_tokens", *tokens);
  }
  const auto effort = fields->Text("reasoning_effort");
  std::optional<int64_t> effort_budget;
  if (effort) {
    static constexpr const char* kEfforts[] = {"minimal", "low", "medium", "high"};
    const auto found = std::find(std::begin(kEfforts), std::end(kEfforts), *effort);
    if (*effort == "none")
      enabled = false;
    else if (found == std::end(kEfforts))
      throw InvalidValue("reasoning_effort",
                         "reasoning_effort is {}, expected none, minimal, low, medium or high",
                         Quoted(*effort));
    else
      effort_budget = defaults.effort[found - std::begin(kEfforts)];
  }
  if (const auto top = fields->Bool("enable_thinking")) enabled = top;
  if (kwargs->is_object()) {
    Fields inner(*kwargs, "chat_template_kwargs.");
    TakeBudgets(&inner, &budget);
    for (const char* name : {"enable_thinking", "thinking"}) {
      if (const auto value = inner.Bool(name)) enabled = value;
    }
    for (const char* name : kBudgetNames) kwargs->Remove(name);
    for (const char* name : {"enable_thinking", "thinking"}) kwargs->Remove(name);
  }
  for (const char* name : {"thinking_grace", "thinking_budget_grace_period"}) {
    if (const auto value = fields->Int(name, -1, limits::kContext)) grace.Take(name, *value);
  }
  if (const auto value = fields->Int("min_thinking_tokens", 0, limits::kContext))
    least.Take("min_thinking_tokens", *value);
  read.grace = grace.value.value_or(defaults.grace);
  read.min_tokens = static_cast<size_t>(least.value.value_or(0));
  read.answer_reserve = fields->Int("answer_reserve", -1, limits::kContext).value_or(-1);
  read.close_message = fields->Text("thinking_close_message", 4096).value_or("");

  if (!support.supported) {
    const bool wants = (budget.value && *budget.value > 0) || enabled.value_or(false) ||
                       effort_budget.has_value() || read.min_tokens > 0;
    if (wants) {
      const std::string name = budget.value          ? budget.name
                               : effort              ? "reasoning_effort"
                               : read.min_tokens > 0 ? "min_thinking_tokens"
                                                     : "enable_thinking";
      throw Unsupported(name, "{} asks for thinking, but this model has no thinking mode", name);
    }
    return read;
  }
  // An explicit number goes before the effort, which is a coarser word for it.
  read.budget = budget.value ? *budget.value : effort_budget ? *effort_budget : defaults.budget;
  if (enabled)
    read.toggle = *enabled ? Thinking::kOn : Thinking::kOff;
  else if (read.budget == 0)
    read.toggle = Thinking::kOff;
  else if (budget.value || effort_budget)
    read.toggle = Thinking::kOn;
  else if (!HasCommand(messages, support))
    read.toggle = defaults.toggle;
  if (read.budget == 0 && read.toggle != Thinking::kOff) read.toggle = Thinking::kOff;
  if (defaults.budget_max >= 0 && (read.budget < 0 || read.budget > defaults.budget_max))
    read.budget = defaults.budget_max;
  return read;
}

}  // namespace planish
