// SPDX-License-Identifier: Apache-2.0
// `planish generate`: prompts to answers, one after another, as text or JSON.
#include "infer/generate.h"

#include <unistd.h>

#include <cmath>

#include "base/file.h"
#include "cli/input.h"
#include "cli/model_options.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace planish {
namespace {

class GenerateVerb : public Verb {
 public:
  const char* name() const override { return "generate"; }
  const char* group() const override { return "run"; }
  const char* summary() const override {
    return "answer prompts from arguments, stdin, JSONL or token ids";
  }
  const char* examples() const override {
    return "  planish generate -m MODEL -n 64 'The capital of France is'\n  planish generate -m "
           "MODEL --chat --jsonl --json < prompts.jsonl > answers.jsonl";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options);
    model_.DeclareRun(options, "f32");
    options->Group("Input");
    options->Positional("prompts", &prompts_, "prompts; without any, stdin is one prompt");
    options->Text("--ids", &ids_, "JSON file with a list of token ids, used as given");
    options->Flag("--jsonl", &jsonl_, "stdin: lines {\"prompt\": TEXT} or {\"messages\": [...]}");
    options->Flag("--chat", &chat_, "put each prompt through the chat template as a user message");
    options->Flag("--parse-special", &parse_special_,
                  "match special tokens in plain prompts (never in chat messages)");
    options->Group("Output");
    options->Int("-n", &new_tokens_, 0, static_cast<int64_t>(limits::kContext),
                 "new tokens; 0: up to the context");
    options->Int("--samples", &samples_, 1, 1024, "answers to each prompt");
    options->Flag("--ignore-eos", &ignore_eos_, "go on after end-of-sequence tokens");
    options->Flag("--json", &json_,
                  "one JSON object an answer: ids, text, reasoning, answer, finish_reason, "
                  "logprobs, timings");
    thinking_.Declare(options);
    sampling_.Declare(options);
  }

  ExitCode Run(const OptionSet& options) override {
    if ((ids_.empty() ? 0 : 1) + (jsonl_ ? 1 : 0) + (prompts_.empty() ? 0 : 1) > 1) {
      throw UsageError("expected one of --ids, --jsonl and prompts as arguments");
    }
    const bool needs_text = ids_.empty();
    opened_ = std::make_unique<Pretrained>(model_.Open(needs_text));
    thinking_.Apply(opened_.get());
    engine_ = std::make_unique<Engine>(
        opened_->model.get(), EngineOptions{.context = model_.ContextFor(opened_->config)});
    params_ = sampling_.Merge(options, opened_->generation);
    if (!ids_.empty()) {
      Answer({ReadIds(ids_, opened_->config.vocab_size), ReasoningSplitter::Mode::kOff});
      return ExitCode::kOk;
    }
    if (jsonl_) {
      LineReader lines(STDIN_FILENO, "stdin", limits::kJsonlLineBytes);
      for (std::string line; lines.Next(&line);) {
        if (!line.empty()) AnswerLine(line, fmt::format("stdin: line {}", lines.line_number()));
      }
      return ExitCode::kOk;
    }
    if (prompts_.empty()) {
      prompts_.push_back(ReadStandardInput());
    }
    for (const std::string& prompt : prompts_)
      Answer(chat_ ? ChatPrompt(UserMessage(prompt))
                   : EncodeText(*opened_, prompt, parse_special_));
    return ExitCode::kOk;
  }

 private:
  static Json UserMessage(const std::string& text) {
    Json message = Json::MakeObject(), messages = Json::MakeArray();
    message.Set("role", "user");
    message.Set("content", text);
    messages.Append(std::move(message));
    return messages;
  }

  Prompt ChatPrompt(const Json& messages) const {
    return EncodeChat(*opened_, messages, {.thinking = thinking_.Resolve()});
  }

  void AnswerLine(const std::string& line, const std::string& where) {
    const Json json = ParseJson(line, where);
    const JsonReader reader(json, where);
    if (reader.Has("messages"))
      Answer(ChatPrompt(Json(reader.Array("messages"))));
    else
      Answer(chat_ ? ChatPrompt(UserMessage(reader.String("prompt")))
                   : EncodeText(*opened_, reader.String("prompt"), parse_special_));
  }

  void Answer(const Prompt& prompt) {
    for (int64_t sample = 0; sample < samples_; ++sample) {
      GenerateOptions options;
      options.max_new_tokens = static_cast<size_t>(new_tokens_);
      options.sampling = params_;
      options.sampling.choice = static_cast<uint64_t>(sample);
      options.ignore_end = ignore_eos_;
      options.thinking_budget = thinking_.budget;
      if (opened_->tokenizer == nullptr) {
        PrintJson(GenerateIds(prompt, options), prompt);
        continue;
      }
      if (!json_) {
        options.on_piece = [](const ReasoningSplitter::Piece& piece) {
          fmt::print(stderr, "{}", ForTerminal(piece.reasoning, STDERR_FILENO));
          fmt::print("{}", ForTerminal(piece.answer, STDOUT_FILENO));
          FlushOutput();
        };
      }
      const Generated generated = Generate(*opened_, engine_.get(), prompt, options);
      if (json_)
        PrintJson(generated, prompt);
      else
        fmt::print("\n");
    }
  }

  // A model without tokenizer still answers ids with ids.
  Generated GenerateIds(const Prompt& prompt, const GenerateOptions& options) {
    Generated generated;
    Request request;
    request.prompt = prompt.ids;
    request.max_new_tokens =
        options.max_new_tokens == 0 ? engine_->context() : options.max_new_tokens;
    request.sampling = options.sampling;
    request.end_ids = opened_->eos_ids;
    request.ignore_end = options.ignore_end;
    request.on_token = [&](const TokenEvent& event) {
      generated.logprobs.push_back(event.logprob);
    };
    generated.result = engine_->Run(std::move(request));
    generated.ids = generated.result.ids;
    return generated;
  }

  static void PrintJson(const Generated& generated, const Prompt& prompt) {
    Json ids = Json::MakeArray(), logprobs = Json::MakeArray(), timings = Json::MakeObject();
    for (const int32_t id : generated.ids) ids.Append(int64_t{id});
    for (const double value : generated.logprobs)
      logprobs.Append(std::isfinite(value) ? Json(value) : Json());
    timings.Set("prompt_s", generated.result.prompt_s);
    timings.Set("decode_s", generated.result.decode_s);
    Json out = Json::MakeObject();
    out.Set("ids", std::move(ids));
    out.Set("text", generated.text);
    out.Set("reasoning", generated.reasoning);
    out.Set("answer", generated.answer);
    out.Set("finish_reason", Name(generated.result.finish));
    out.Set("prompt_tokens", static_cast<uint64_t>(prompt.ids.size()));
    out.Set("reasoning_tokens", static_cast<uint64_t>(generated.reasoning_tokens));
    out.Set("thinking_stopped_by", Name(generated.stopped_by));
    out.Set("logprobs", std::move(logprobs));
    out.Set("timings", std::move(timings));
    fmt::print("{}\n", DumpJson(out));
    FlushOutput();
  }

  ModelOptions model_;
  ThinkingOptions thinking_;
  SamplingOptions sampling_;
  std::vector<std::string> prompts_;
  std::string ids_;
  bool parse_special_ = false, jsonl_ = false, chat_ = false, ignore_eos_ = false, json_ = false;
  int64_t new_tokens_ = 0, samples_ = 1;
  std::unique_ptr<Pretrained> opened_;
  std::unique_ptr<Engine> engine_;
  SamplingParams params_;
};

}  // namespace

std::unique_ptr<Verb> MakeGenerate() { return std::make_unique<GenerateVerb>(); }

}  // namespace planish
