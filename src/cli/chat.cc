// SPDX-License-Identifier: Apache-2.0
// `planish chat`: a conversation in the terminal. Answers go to stdout, everything else to stderr.
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "cli/chat_commands.h"
#include "cli/input.h"
#include "cli/local_partner.h"
#include "cli/model_options.h"
#include "cli/server_partner.h"
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
           "of Italy?' | planish chat --server http://127.0.0.1:8080";
  }
  void Declare(OptionSet* options) override {
    options->Group("Server");
    options->Text("--server", &server_,
                  "instead of -m: talk to a server, e.g. http://127.0.0.1:8080");
    options->Text("--api-key", &key_, "its key");
    options->Text("--name", &name_, "the model to ask it for; default: its first");
    model_.Declare(options, /*required=*/false);
    model_.DeclareRun(options, "auto");
    options->Group("Conversation");
    options->Text("--system", &system_, "system prompt");
    options->Flag("--tools", &tools_, "the model may call the demo tools");
    options->Int("-n", &new_tokens_, 0, static_cast<int64_t>(limits::kContext),
                 "new tokens of an answer; 0: up to the context");
    options->Flag("--hide-reasoning", &hide_, "show reasoning as one line only");
    options->Choice("--color", &color_, {"auto", "always", "never"}, "colour on stderr");
    thinking_.Declare(options);
    sampling_.Declare(options);
  }

  ExitCode Run(const OptionSet& options) override {
    if (model_.model.empty() == server_.empty())
      throw UsageError("expected one of -m MODEL and --server URL");
    return server_.empty() ? TalkToModel(options) : TalkToServer(options);
  }

 private:
  ExitCode TalkToModel(const OptionSet& options) {
    Pretrained opened = model_.Open();
    thinking_.Apply(&opened);
    Engine engine(opened.model.get(), {.context = model_.ContextFor(opened.config),
                                       .cache_bytes = DefaultCacheBytes()});
    ChatSession session(&opened, &engine);
    session.settings.sampling = sampling_.Merge(options, opened.generation);
    session.settings.max_new_tokens = static_cast<size_t>(new_tokens_);
    if (opened.chat_template == nullptr)
      throw Error(ExitCode::kUsage, fmt::format("{} has no chat template", opened.name),
                  "planish generate");
    LocalPartner partner(&opened, &session);
    return Talk(&partner);
  }

  // What the user did not give is left to the server.
  ExitCode TalkToServer(const OptionSet& options) {
    ServerPartner partner(server_, key_, name_);
    const std::pair<const char*, Json> given[] = {
        {"temperature", sampling_.temperature},
        {"top_p", sampling_.top_p},
        {"min_p", sampling_.min_p},
        {"top_k", sampling_.top_k},
        {"seed", sampling_.seed},
        {"repetition_penalty", sampling_.repetition_penalty},
        {"frequency_penalty", sampling_.frequency_penalty},
        {"presence_penalty", sampling_.presence_penalty}};
    for (const auto& [name, value] : given) {
      std::string flag = std::string("--") + name;
      std::replace(flag.begin(), flag.end(), '_', '-');
      if (options.WasGiven(flag.c_str())) partner.SetParameter(name, value);
    }
    if (sampling_.greedy) partner.SetParameter("temperature", 0.0);
    partner.SetParameter("n", new_tokens_);
    return Talk(&partner);
  }

  ExitCode Talk(ChatPartner* partner) {
    partner->SetBudget(thinking_.budget);
    partner->SetThinking(thinking_.Resolve());
    if (tools_) partner->SetTools(true);
    if (!system_.empty()) partner->messages().SetSystem(system_);
    ChatScreen screen(partner, UseColor(color_, STDERR_FILENO), !hide_);
    if (isatty(STDIN_FILENO) != 0)
      screen.Converse();
    else
      screen.AnswerOnce(ReadAllInput());
    return screen.was_interrupted() ? ExitCode::kInterrupted : ExitCode::kOk;
  }

  static std::string ReadAllInput() {
    const std::string all = ReadStandardInput();
    if (all.find_first_not_of(" \t\r\n") == std::string::npos)
      throw UsageError("stdin is empty, expected a message");
    return all;
  }

  ModelOptions model_;
  ThinkingOptions thinking_;
  SamplingOptions sampling_;
  std::string server_, key_, name_, system_, color_ = "auto";
  int64_t new_tokens_ = 0;
  bool hide_ = false, tools_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeChat() { return std::make_unique<ChatVerb>(); }

}  // namespace planish
