// SPDX-License-Identifier: Apache-2.0
// `planish demo`: the main job on the model that comes with the program, by itself and in under two minutes: one question with
// thinking off and on, a sweep over thinking budgets, three tools, the model pruned and distilled, speed and memory; and a page
// that shows it all.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>

#include "base/file.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "cli/demo_compression.h"
#include "cli/demo_page.h"
#include "cli/model_options.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "eval/answer.h"
#include "eval/engine_generator.h"
#include "eval/tasks.h"
#include "infer/chat_session.h"
#include "kernels/isa.h"
#include "model/planner.h"
#include "problems/generator.h"
#include "text/demo_tools.h"
#include "text/tool_format.h"

namespace planish {
namespace {

constexpr uint64_t kSeed = 20;          // of the problems that are shown
constexpr size_t kSweepContext = 1024;  // bounds a reasoning that goes in circles
constexpr int64_t kBudgets[] = {0, 32, 64, 128, 256, -1};
constexpr uint64_t kLargestToShrink = 50'000'000;  // parameters: larger ones take too long to watch
constexpr const char* kPlainQuestions[] = {
    "What is the capital of Italy?",
    "Name three primary colours.",
    "Write one sentence about the sea.",
};
constexpr const char* kToolQuestions[] = {
    "What is the weather like in Paris right now, in celsius?",
    "Who is Hermione Granger?",
    "What would you call the color #2e8b57?",
};

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double MiB(uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

std::string Today() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

Json Message(const char* role, std::string content) {
  return Json::Object{{"role", role}, {"content", std::move(content)}};
}

// Lines stay under the question.
std::string Safe(const std::string& text) {
  std::string shown;
  for (const char c : ForTerminal(text, STDOUT_FILENO))
    shown += c == '\n' ? "\n   " : std::string(1, c);
  return shown;
}

class DemoVerb : public Verb {
 public:
  const char* name() const override { return "demo"; }
  const char* group() const override { return "run"; }
  const char* summary() const override {
    return "the guided tour: thinking, budgets, tools, pruning, speed";
  }
  const char* examples() const override {
    return "  planish demo\n  planish demo -m MODEL --problems 20 --color never";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options, /*required=*/false);
    model_.DeclareRun(options, "auto");
    options->Int("-n", &new_tokens_, 1, 4096, "most new tokens of an answer");
    options->Int("--problems", &problems_, 1, 10'000, "of the sweep over thinking budgets");
    options->Flag("--no-compress", &no_compress_, "without pruning and distilling the model");
    options->Int("--distill-tokens", &distill_tokens_, 4096, int64_t{1} << 40,
                 "tokens of distillation, and of training from scratch");
    options->Text("-o,--output", &output_, "page with what was seen");
    options->Choice("--color", &color_, {"auto", "always", "never"}, "colour");
  }

  ExitCode Run(const OptionSet&) override {
    const auto start = Clock::now();
    palette_ = Palette(UseColor(color_, STDOUT_FILENO));
    Pretrained opened = model_.Open();
    Heading("1. The model");
    Describe(&opened, SecondsSince(start));
    Engine engine(opened.model.get(), {.context = model_.ContextFor(opened.config)});
    if (opened.thinking.supported) {
      Heading("2. The same question with thinking off and on");
      ThinkingOffAndOn(opened, &engine);
      Heading("3. Accuracy over the thinking budget");
      Sweep(opened);
      Heading("4. Tools");
      Tools(opened);
      if (!no_compress_) {
        Heading("5. Smaller by 30 %");
        Shrink(opened);
      }
    } else {
      Heading("2. Three questions");
      for (const char* question : kPlainQuestions)
        Ask(opened, &engine, question, Thinking::kDefault);
      Heading("3. Thinking");
      fmt::print("   This model has none: its chat template reacts to no toggle.\n");
    }
    record_.resident_bytes = ResidentBytes();
    record_.seconds = SecondsSince(start);
    fmt::print("\nresident {:.0f} MiB, peak {:.0f} MiB (file {:.0f} MiB); {:.1f} s in all\n",
               MiB(record_.resident_bytes), MiB(PeakResidentBytes()), MiB(opened.file_bytes),
               record_.seconds);
    if (!output_.empty()) {
      WriteFile(output_, DemoPage(opened.name, record_));
      fmt::print("wrote {}\n", output_);
    }
    fmt::print("next: planish chat -m {0}   or: planish serve -m {0}\n", opened.path);
    return ExitCode::kOk;
  }

 private:
  void Heading(const char* text) const {
    fmt::print("{}{}{}{}\n", text[0] == '1' ? "" : "\n", palette_.bold, text, palette_.reset);
  }

  void Fact(const std::string& name, const std::string& value) {
    record_.facts.emplace_back(name, value);
  }

  void Describe(Pretrained* opened, double load_s) {
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
    Fact("model", fmt::format("{}, {} parameters", opened->path, plan.parameters));
    Fact("blocks", DescribeBlocks(opened->config));
    Fact("weights", types);
    Fact("state of a sequence", fmt::format("{} bytes, and {} bytes a token of KV cache",
                                            plan.state_bytes, plan.kv_bytes_per_token));
    Fact("machine", fmt::format("{} threads, ISA {}, products in {}", ThreadCount(), IsaName(),
                                Name(opened->model->act_mode())));
    Fact("program", ProgramVersion());
  }

  // Streams one answer; the key, if any, says whether it is right.
  void Ask(const Pretrained& opened, Engine* engine, const std::string& question, Thinking thinking,
           const Problem* problem = nullptr) {
    ChatSession session(&opened, engine);
    session.settings.thinking = thinking;
    session.settings.max_new_tokens = static_cast<size_t>(new_tokens_);
    session.settings.sampling.temperature = 0;
    fmt::print("   {}> {}{}\n   ", palette_.bold, question, palette_.reset);
    const Generated generated = session.Say(question, [&](const ReasoningSplitter::Piece& piece) {
      if (!piece.reasoning.empty())
        fmt::print("{}{}{}", palette_.dim, Safe(piece.reasoning), palette_.reset);
      fmt::print("{}", Safe(piece.answer));
      std::fflush(stdout);
    });
    const RequestResult& result = generated.result;
    DemoAnswer answer{.question = question,
                      .setting = thinking == Thinking::kOn    ? "thinking on"
                                 : thinking == Thinking::kOff ? "thinking off"
                                                              : "no thinking",
                      .reasoning = generated.reasoning,
                      .answer = generated.answer,
                      .reasoning_tokens = generated.reasoning_tokens,
                      .tokens = result.ids.size()};
    std::string verdict;
    if (problem != nullptr) {
      const auto found = ExtractAnswer(generated.answer, problem->answer_type);
      answer.has_key = true;
      answer.key = problem->answer;
      answer.is_right = found && SameAnswer(*found, problem->answer, problem->answer_type);
      verdict = answer.is_right ? "right; " : fmt::format("wrong, expected {}; ", problem->answer);
    }
    if (result.decode_s > 0 && result.ids.size() > 1)
      answer.tokens_per_s = static_cast<double>(result.ids.size() - 1) / result.decode_s;
    record_.decode_tokens_per_s = answer.tokens_per_s;
    fmt::print(
        "\n   {}[{}prompt {} tokens in {:.3f} s; answer {} tokens, {} of them reasoning, {:.0f} "
        "tokens/s]{}\n",
        palette_.dim, verdict, session.last_prompt_tokens(), result.prompt_s, result.ids.size(),
        generated.reasoning_tokens, answer.tokens_per_s, palette_.reset);
    record_.answers.push_back(std::move(answer));
  }

  void ThinkingOffAndOn(const Pretrained& opened, Engine* engine) {
    const Problem problem =
        MakeProblem(kSeed, 0, Split::kTest, {.skill = Skill::kMixed, .steps = 4, .digits = 2});
    for (const Thinking thinking : {Thinking::kOff, Thinking::kOn}) {
      fmt::print("   thinking {}:\n", thinking == Thinking::kOn ? "on" : "off");
      Ask(opened, engine, problem.question, thinking, &problem);
    }
  }

  void Sweep(const Pretrained& opened) {
    EngineGenerator generator(
        &opened,
        {.batch = 64, .context = std::min(kSweepContext, model_.ContextFor(opened.config))});
    const auto task = MakeTask("word-problems");
    const std::vector<EvalItem> items =
        task->Items({.seed = kSeed, .limit = static_cast<size_t>(problems_)});
    fmt::print("   {} made-up problems of the test mix, greedy, 64 at a time\n", items.size());
    TaskResult result;
    double tokens = 0, seconds = 0;
    for (const int64_t budget : kBudgets) {
      Evaluation pass = Evaluate(*task, items, {.settings = {{budget}}, .seed = kSeed}, &generator);
      result.summaries.push_back(Summarize(pass, pass.runs[0]));
      const Summary& s = result.summaries.back();
      if (result.evaluation.runs.empty())
        result.evaluation = std::move(pass);
      else
        result.evaluation.runs.push_back(std::move(pass.runs[0]));
      std::string bar;
      for (int i = 0; i < static_cast<int>(30 * s.accuracy.mean + 0.5); ++i) bar += "█";
      fmt::print(
          "   {:>8} {:>3.0f} % {:<30} {:.0f} to {:.0f} %, {:.0f} tokens of reasoning, {:.0f} "
          "tokens/s\n",
          budget < 0 ? "no limit" : Name(s.setting), 100 * s.accuracy.mean, bar,
          100 * s.accuracy.interval.low, 100 * s.accuracy.interval.high, s.thinking_mean,
          s.tokens_per_s);
      std::fflush(stdout);
      tokens += static_cast<double>(s.tokens);
      seconds += s.seconds;
    }
    if (seconds > 0) record_.batch_tokens_per_s = tokens / seconds;
    record_.sweep.push_back(std::move(result));
  }

  void Tools(const Pretrained& opened) {
    EngineGenerator generator(&opened, {.batch = 1, .context = model_.ContextFor(opened.config)});
    const auto answer = [&](const Json& messages) {
      TextRequest request;
      request.messages = messages;
      request.tools = DemoTools();
      request.answer_tokens = 128;
      TextReply reply;
      generator.Run({&request, 1}, {256}, [&](size_t, TextReply done) { reply = std::move(done); });
      return reply;
    };
    for (const char* question : kToolQuestions) {
      Json messages = Json::Array{Message("user", question)};
      const TextReply first = answer(messages);
      const ToolReply calls = ParseToolCalls(first.answer, DemoTools());
      DemoToolRun run{.question = question, .reasoning = first.reasoning};
      fmt::print("   {}> {}{}\n", palette_.bold, question, palette_.reset);
      if (calls.calls.empty()) {
        run.answer = first.answer;
      } else {
        const ToolCall& call = calls.calls[0];
        run.is_valid = CheckToolCall(call, DemoTools()).empty();
        run.call = call.name + call.arguments;
        run.result = RunDemoToolCall(call.name, call.arguments, Today());
        fmt::print("   {}call   {}{}\n   {}result {}{}\n", palette_.dim, Safe(run.call),
                   palette_.reset, palette_.dim, Safe(run.result), palette_.reset);
        Json asked = Message("assistant", calls.content);
        asked.Set(
            "tool_calls",
            Json::Array{Json::Object{
                {"id", "call_0"},
                {"type", "function"},
                {"function", Json::Object{{"name", call.name}, {"arguments", call.arguments}}}}});
        messages.Append(std::move(asked));
        Json told = Message("tool", run.result);
        told.Set("tool_call_id", "call_0");
        messages.Append(std::move(told));
        run.answer = answer(messages).answer;
      }
      fmt::print("   {}\n", Safe(run.answer));
      record_.tools.push_back(std::move(run));
    }
  }

  void Shrink(const Pretrained& opened) {
    const uint64_t parameters = MakePlan(opened.config, {}).parameters;
    if (parameters > kLargestToShrink) {
      fmt::print("   left out: {} parameters, of at most {}\n", parameters, kLargestToShrink);
      return;
    }
    fmt::print(
        "   pruned, then distilled on {} tokens of new problems; the same shape from scratch on "
        "these\n   {:<13} {:>10} {:>9} {:>9} {:>7} {:>7}  right with thinking\n",
        distill_tokens_, "", "parameters", "bf16", "tokens", "s", "tokens/s");
    ShrinkAndRecover(
        model_, opened,
        {.tokens = static_cast<uint64_t>(distill_tokens_),
         .problems = static_cast<size_t>(problems_),
         .seed = kSeed},
        [&](const ShrunkModel& row) {
          const Share& accuracy = row.summary.accuracy;
          fmt::print(
              "   {:<13} {:>10} {:>5.1f} MiB {:>9} {:>7.1f} {:>8.0f}  {:.0f} % ({:.0f} "
              "to {:.0f})\n",
              row.name, row.parameters, MiB(row.bytes), row.tokens, row.seconds,
              row.summary.tokens_per_s, 100 * accuracy.mean, 100 * accuracy.interval.low,
              100 * accuracy.interval.high);
          std::fflush(stdout);
          record_.shrunk.push_back(row);
        });
  }

  ModelOptions model_;
  int64_t new_tokens_ = 512, problems_ = 100, distill_tokens_ = 400'000;
  bool no_compress_ = false;
  std::string color_ = "auto", output_ = "demo-report.html";
  Palette palette_{false};
  DemoRecord record_;
};

}  // namespace

std::unique_ptr<Verb> MakeDemo() { return std::make_unique<DemoVerb>(); }

}  // namespace planish
