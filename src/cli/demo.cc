// SPDX-License-Identifier: Apache-2.0
// `planish demo`: the main job on a real model, by itself and in under a minute: load, answer, toggle, budget.
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "base/memory.h"
#include "base/parallel.h"
#include "cli/model_options.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "infer/chat_session.h"
#include "kernels/isa.h"
#include "model/planner.h"

namespace planish {
namespace {

constexpr const char* kQuestions[] = {
    "What is the capital of Italy?",
    "Name three primary colours.",
    "Write one sentence about the sea.",
};

double MiB(uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

class DemoVerb : public Verb {
 public:
  const char* name() const override { return "demo"; }
  const char* group() const override { return "run"; }
  const char* summary() const override {
    return "load a model, answer three questions, show thinking toggle and budget";
  }
  const char* examples() const override {
    return "  planish demo -m MODEL\n  planish demo -m MODEL -n 40 --color never";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options);
    model_.DeclareRun(options, "auto");
    options->Int("-n", &new_tokens_, 1, 4096, "most new tokens of an answer");
    options->Choice("--color", &color_, {"auto", "always", "never"}, "colour");
  }

  ExitCode Run(const OptionSet&) override {
    const Palette palette(UseColor(color_, STDOUT_FILENO));
    const auto start = std::chrono::steady_clock::now();
    Pretrained opened = model_.Open();
    const double load_s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fmt::print("{}1. The model{}\n", palette.bold, palette.reset);
    Describe(&opened, load_s);
    Engine engine(opened.model.get(), {.context = model_.ContextFor(opened.config)});

    fmt::print("\n{}2. Three questions{}\n", palette.bold, palette.reset);
    for (const char* question : kQuestions) {
      ChatSession session(&opened, &engine);
      Ask(&session, question, palette);
    }
    fmt::print("\n{}3. Thinking{}\n", palette.bold, palette.reset);
    ShowThinking(opened, &engine, palette);
    fmt::print("\nresident {:.0f} MiB, peak {:.0f} MiB (file {:.0f} MiB)\n", MiB(ResidentBytes()),
               MiB(PeakResidentBytes()), MiB(opened.file_bytes));
    fmt::print("next: planish chat -m {}\n", model_.model);
    return ExitCode::kOk;
  }

 private:
  static void Describe(Pretrained* opened, double load_s) {
    const Plan plan = MakePlan(opened->config, EngineRequest(0, 1, opened->model->state_types()));
    fmt::print("   {} ({}, {:.0f} MiB), {} parameters, {}\n", opened->name, opened->format,
               MiB(opened->file_bytes), plan.parameters, DescribeBlocks(opened->config));
    std::string types;
    for (const auto& [type, bytes] : BytesByType(opened->model.get()))
      types += fmt::format("{}{} {:.1f} MiB", types.empty() ? "" : ", ", type, MiB(bytes));
    fmt::print("   weights: {}; KV cache {} bytes a token, recurrent state {} bytes\n", types,
               plan.kv_bytes_per_token, plan.state_bytes);
    fmt::print("   loaded in {:.2f} s; {} thread(s), ISA {}, products in {}\n", load_s,
               ThreadCount(), IsaName(), Name(opened->model->act_mode()));
  }

  Generated Ask(ChatSession* session, const char* question, const Palette& palette) const {
    session->settings.max_new_tokens = static_cast<size_t>(new_tokens_);
    session->settings.sampling.temperature = 0;
    fmt::print("   {}> {}{}\n   ", palette.dim, question, palette.reset);
    const Generated generated = session->Say(question, [&](const ReasoningSplitter::Piece& piece) {
      if (!piece.reasoning.empty())
        fmt::print("{}{}{}", palette.dim, piece.reasoning, palette.reset);
      fmt::print("{}", piece.answer);
      std::fflush(stdout);
    });
    const RequestResult& result = generated.result;
    const size_t decoded = result.ids.size() - 1;
    fmt::print("\n   {}[prompt {} tokens in {:.2f} s, {:.0f} tok/s; answer {} tokens", palette.dim,
               session->last_prompt_tokens(), result.prompt_s,
               static_cast<double>(session->last_prompt_tokens()) / result.prompt_s,
               result.ids.size());
    if (generated.reasoning_tokens > 0)
      fmt::print(" ({} thinking, closed by {})", generated.reasoning_tokens,
                 Name(generated.stopped_by));
    if (decoded > 0) fmt::print(", {:.0f} tok/s", static_cast<double>(decoded) / result.decode_s);
    fmt::print("; resident {:.0f} MiB]{}\n", MiB(ResidentBytes()), palette.reset);
    return generated;
  }

  void ShowThinking(const Pretrained& opened, Engine* engine, const Palette& palette) const {
    if (!opened.thinking.supported) {
      fmt::print(
          "   This model has no thinking mode: its chat template reacts to no toggle, so /think "
          "and budgets are refused:\n");
      try {
        ChatSession session(&opened, engine);
        session.settings.thinking = Thinking::kOn;
        session.Say(kQuestions[0], nullptr);
      } catch (const Error& error) {
        fmt::print("   --think on: {}\n", error.what());
      }
      fmt::print(
          "   The same machinery on plain text: a reasoning of at most 24 tokens, closed softly, "
          "then the answer.\n");
      Prompt prompt =
          EncodeText(opened, "Question: What is 7 times 8?\n<think>\nLet us work it out.");
      prompt.mode = ReasoningSplitter::Mode::kThink;
      ShowBudget(opened, engine, prompt, 24, palette);
      return;
    }
    for (const Thinking thinking : {Thinking::kOff, Thinking::kOn}) {
      fmt::print("   thinking {}:\n", thinking == Thinking::kOn ? "on" : "off");
      ChatSession session(&opened, engine);
      session.settings.thinking = thinking;
      Ask(&session, "What is 17 times 23?", palette);
    }
    for (const int64_t budget : {16, 64, 256}) {
      fmt::print("   budget {}:\n", budget);
      ChatSession session(&opened, engine);
      session.settings.thinking = Thinking::kOn;
      session.settings.budget = budget;
      Ask(&session, "What is 17 times 23?", palette);
    }
  }

  void ShowBudget(const Pretrained& opened, Engine* engine, const Prompt& prompt, int64_t budget,
                  const Palette& palette) const {
    GenerateOptions options;
    options.max_new_tokens = 96;
    options.sampling.temperature = 0;
    options.thinking_budget = budget;
    fmt::print("   ");
    options.on_piece = [&](const ReasoningSplitter::Piece& piece) {
      if (!piece.reasoning.empty())
        fmt::print("{}{}{}", palette.dim, piece.reasoning, palette.reset);
      if (!piece.answer.empty()) fmt::print("{}", piece.answer);
      std::fflush(stdout);
    };
    const Generated generated = Generate(opened, engine, prompt, options);
    fmt::print("\n   {}[reasoning {} tokens of {}, closed by {}; {} tokens in all]{}\n",
               palette.dim, generated.reasoning_tokens, budget, Name(generated.stopped_by),
               generated.ids.size(), palette.reset);
  }

  ModelOptions model_;
  int64_t new_tokens_ = 64;
  std::string color_ = "auto";
};

}  // namespace

std::unique_ptr<Verb> MakeDemo() { return std::make_unique<DemoVerb>(); }

}  // namespace planish
