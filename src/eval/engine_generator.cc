// SPDX-License-Identifier: Apache-2.0
#include "eval/engine_generator.h"

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "infer/generate.h"
#include "kernels/isa.h"

namespace planish {
namespace {

using Mode = ReasoningSplitter::Mode;

constexpr size_t kCloseTokens = 16;  // more than any spelling of the closing tag takes

// Follows the text of one sequence: splits it, ends it at a stop string of the answer or at the answer's limit.
class ReplyText : public TokenHook {
 public:
  ReplyText(std::shared_ptr<const Tokenizer> tokenizer, Mode start, const TextRequest& asked)
      : decoder_(std::move(tokenizer), /*skip_special=*/false),
        splitter_(start, /*tool_calls=*/!asked.tools.is_null()),
        stop_(asked.stop),
        answer_tokens_(asked.answer_tokens) {}

  Action OnToken(int32_t id) override {
    const Mode before = splitter_.mode();
    Add(decoder_.Push(id));
    Action action;
    action.stop = FindStop();
    // The newlines that belong to the closing tag are no part of the answer.
    const bool is_answer = before == Mode::kOff || before == Mode::kOpenWait ||
                           (before == Mode::kAnswer && !answer_.empty());
    if (is_answer && ++answered_ >= answer_tokens_ && !action.stop) action.stop = is_cut_ = true;
    return action;
  }
  void Finish(TextReply* reply) {
    Add(decoder_.Finish());
    const auto rest = splitter_.Finish();
    reasoning_ += rest.reasoning;
    answer_ += rest.answer;
    FindStop();
    reply->text = std::move(text_);
    reply->reasoning = std::move(reasoning_);
    reply->answer = std::move(answer_);
    reply->is_cut = reply->is_cut || is_cut_;
  }

 private:
  void Add(const std::string& text) {
    text_ += text;
    const auto piece = splitter_.Push(text);
    reasoning_ += piece.reasoning;
    answer_ += piece.answer;
  }
  bool FindStop() {
    size_t cut = std::string::npos;
    for (const std::string& stop : stop_) cut = std::min(cut, answer_.find(stop));
    if (cut == std::string::npos) return false;
    answer_.resize(cut);
    return true;
  }

  StreamDecoder decoder_;
  ReasoningSplitter splitter_;
  std::vector<std::string> stop_;
  size_t answer_tokens_, answered_ = 0;
  bool is_cut_ = false;
  std::string text_, reasoning_, answer_;
};

ReasoningEnd EndOf(const ThinkingBudget* budget, const ThinkingSetting& thinking) {
  using StoppedBy = ThinkingBudget::StoppedBy;
  if (budget == nullptr) return ReasoningEnd::kNone;
  switch (budget->stopped_by()) {
    case StoppedBy::kNatural:
    case StoppedBy::kTool:
      return ReasoningEnd::kNatural;
    case StoppedBy::kBudget:
    case StoppedBy::kGrace:
      return ReasoningEnd::kBudget;
    case StoppedBy::kReserve:
      return thinking.has_budget() ? ReasoningEnd::kBudget : ReasoningEnd::kReserve;
    default:
      return budget->is_thinking() ? ReasoningEnd::kUnclosed : ReasoningEnd::kNone;
  }
}

}  // namespace

EngineGenerator::EngineGenerator(const Pretrained* opened, const EngineGeneratorOptions& options)
    : opened_(opened),
      options_(options),
      engine_(opened->model.get(), {.slots = options.batch,
                                    .step_tokens = std::max<size_t>(512, 4 * options.batch),
                                    .context = options.context}) {}

void EngineGenerator::Run(std::span<const TextRequest> requests, const ThinkingSetting& thinking,
                          const Done& done) {
  if (!thinking.is_off() && !has_thinking()) {
    throw Error(ExitCode::kUsage,
                fmt::format("{} has no thinking mode: its chat template reacts to no toggle",
                            opened_->name),
                "--thinking off, or --toggle if you know how this model is told");
  }
  // Few requests wait in the engine at a time: prompts of a whole data set need not lie in memory.
  size_t next = 0, active = 0;
  const Done finished = [&](size_t index, TextReply reply) {
    --active;
    done(index, std::move(reply));
  };
  const auto submit = [&] {
    for (; next < requests.size() && active < 2 * options_.batch; ++next) {
      ++active;
      if (requests[next].kind == TextRequest::Kind::kLoglikelihood)
        SubmitScoring(requests[next], next, finished);
      else
        SubmitWriting(requests[next], next, thinking, finished);
    }
  };
  do {
    submit();
  } while (engine_.Step() || next < requests.size());
}

void EngineGenerator::SubmitWriting(const TextRequest& asked, size_t index,
                                    const ThinkingSetting& thinking, const Done& done) {
  const Prompt prompt =
      asked.messages.is_null()
          ? EncodeText(*opened_, asked.prompt)
          : EncodeChat(*opened_, asked.messages,
                       {.thinking = thinking.is_off() ? Thinking::kOff : Thinking::kOn,
                        .tools = asked.tools});
  const size_t context = engine_.context(), length = prompt.ids.size();
  const size_t room = context > length ? context - length : 0;
  if (room < asked.answer_tokens) {
    done(index, {.prompt_tokens = length, .is_too_long = true});
    return;
  }
  size_t limit = asked.answer_tokens;
  std::shared_ptr<ThinkingBudget> budget;
  if (prompt.mode == Mode::kThink || prompt.mode == Mode::kOpenWait) {
    const size_t grace =
        thinking.has_budget()
            ? std::clamp<size_t>((static_cast<size_t>(thinking.budget) + 9) / 10, 16, 500)
            : 0;
    limit =
        thinking.has_budget()
            ? std::min(room, static_cast<size_t>(thinking.budget) + grace + kCloseTokens + limit)
            : room;
    const size_t reserve = std::min(asked.answer_tokens + kCloseTokens, limit / 2);
    budget = std::make_shared<ThinkingBudget>(
        opened_->tokenizer, prompt.mode,
        BudgetParams{.budget = thinking.budget,
                     .grace = thinking.has_budget() ? static_cast<int64_t>(grace) : -1,
                     .max_new_tokens = limit,
                     .answer_reserve = static_cast<int64_t>(reserve),
                     .close_message = {},
                     .tool_calls = !asked.tools.is_null()});
  }
  const auto text = std::make_shared<ReplyText>(opened_->tokenizer, prompt.mode, asked);

  Request request;
  request.prompt = prompt.ids;
  request.max_new_tokens = limit;
  request.sampling.temperature = asked.temperature;
  request.sampling.top_p = asked.top_p;
  request.sampling.seed = asked.seed;
  request.sampling.choice = asked.choice;
  request.end_ids = opened_->eos_ids;
  if (budget != nullptr) request.hooks.push_back(budget);
  request.hooks.push_back(text);
  engine_.Submit(std::move(request), [=](const RequestResult& result) {
    TextReply reply{.prompt_tokens = length, .tokens = result.ids.size(), .error = result.error};
    reply.is_cut = result.finish == FinishReason::kLength;
    text->Finish(&reply);
    reply.end = EndOf(budget.get(), thinking);
    if (budget != nullptr) reply.reasoning_tokens = budget->used();
    done(index, std::move(reply));
  });
}

void EngineGenerator::SubmitScoring(const TextRequest& asked, size_t index, const Done& done) {
  // Encoded as one text and cut where the context's own ids end, its trailing blanks counted to the continuation: a merge
  // across the border stays as the model learned it.
  const size_t trimmed = asked.prompt.find_last_not_of(' ') + 1;
  const std::string context = asked.prompt.substr(0, trimmed);
  const std::string all = context + asked.prompt.substr(trimmed) + asked.continuation;
  Prompt whole = EncodeText(*opened_, all);
  const size_t begin = std::max<size_t>(EncodeText(*opened_, context).ids.size(), 1);
  const size_t length = whole.ids.size();
  if (length > engine_.context() || begin >= length) {
    done(index, {.prompt_tokens = length, .is_too_long = true});
    return;
  }
  Request request;
  request.prompt = std::move(whole.ids);
  request.max_new_tokens = 0;
  request.prompt_logprobs = true;
  engine_.Submit(std::move(request), [=](const RequestResult& result) {
    TextReply reply{.prompt_tokens = length, .error = result.error};
    for (size_t i = begin; i < length && result.error.empty(); ++i)
      reply.logprob += result.prompt_logprobs[i - 1];
    done(index, std::move(reply));
  });
}

Json EngineGenerator::Describe() const {
  Json json = Json::MakeObject();
  json.Set("model", opened_->name);
  json.Set("format", opened_->format);
  json.Set("act", Name(opened_->model->act_mode()));
  json.Set("isa", IsaName());
  json.Set("threads", ThreadCount());
  json.Set("batch", uint64_t{options_.batch});
  json.Set("context", uint64_t{engine_.context()});
  return json;
}

}  // namespace planish
