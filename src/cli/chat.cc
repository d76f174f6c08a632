// SPDX-License-Identifier: Apache-2.0
// `planish chat`: a conversation in the terminal. Answers go to stdout, everything else to stderr.
#include <unistd.h>

#include "base/file.h"
#include "cli/chat_commands.h"
#include "cli/input.h"
#include "cli/model_options.h"
#include "cli/verbs.h"

namespace planish {
namespace {

class ChatVerb : public Verb {
 public:
  const char* name() const override { return "chat"; }
  const char* group() const override { return "run"; }
  const char* summary() const override {
    return "talk to a model in the terminal; thinking toggle and budget";
  }
  const char* examples() const override {
    return "  planish chat -m MODEL --think on --thinking-budget 512\n  echo 'What is the capital "
           "of Italy?' | planish chat -m MODEL";
  }
  void Declare(OptionSet* options) override {
    model_.Declare(options);
    model_.DeclareRun(options, "auto");
    options->Group("Conversation");
    options->Text("--system", &system_, "system prompt");
    options->Int("-n", &new_tokens_, 0, static_cast<int64_t>(limits::kContext),
                 "new tokens of an answer; 0: up to the context");
    options->Flag("--hide-reasoning", &hide_, "show reasoning as one line only");
    options->Choice("--color", &color_, {"auto", "always", "never"}, "colour on stderr");
    thinking_.Declare(options);
    sampling_.Declare(options);
  }

  ExitCode Run(const OptionSet& options) override {
    Pretrained opened = model_.Open();
    thinking_.Apply(&opened);
    Engine engine(opened.model.get(), {.context = model_.ContextFor(opened.config),
                                       .cache_bytes = DefaultCacheBytes()});
    ChatSession session(&opened, &engine);
    session.settings.sampling = sampling_.Merge(options, opened.generation);
    session.settings.max_new_tokens = static_cast<size_t>(new_tokens_);
    session.settings.budget = thinking_.budget;
    session.settings.thinking = thinking_.Resolve();
    if (opened.chat_template == nullptr)
      throw Error(ExitCode::kUsage, fmt::format("{} has no chat template", opened.name),
                  "planish generate");
    if (!system_.empty()) session.SetSystem(system_);
    ChatScreen screen(&session, UseColor(color_, STDERR_FILENO), !hide_);
    if (isatty(STDIN_FILENO) != 0)
      screen.Converse(opened);
    else
      screen.AnswerOnce(ReadAllInput());
    return screen.was_interrupted() ? ExitCode::kInterrupted : ExitCode::kOk;
  }

 private:
  static std::string ReadAllInput() {
    const std::string all = ReadStandardInput();
    if (all.find_first_not_of(" \t\r\n") == std::string::npos)
      throw UsageError("stdin is empty, expected a message");
    return all;
  }

  ModelOptions model_;
  ThinkingOptions thinking_;
  SamplingOptions sampling_;
  std::string system_, color_ = "auto";
  int64_t new_tokens_ = 0;
  bool hide_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeChat() { return std::make_unique<ChatVerb>(); }

}  // namespace planish
