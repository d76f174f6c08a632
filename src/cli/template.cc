// SPDX-License-Identifier: Apache-2.0
// `planish template`: renders chat templates over JSONL conversations.
#include <unistd.h>

#include "base/file.h"
#include "cli/verbs.h"
#include "model/pretrained.h"

namespace planish {
namespace {

class TemplateVerb : public Verb {
 public:
  const char* name() const override { return "template"; }
  const char* group() const override { return "make"; }
  const char* summary() const override {
    return "render a chat template over conversations (JSONL), or print it";
  }
  const char* examples() const override {
    return "  planish template -m MODEL --source\n  planish template --template "
           "chat_template.jinja --jsonl < conversations.jsonl";
  }
  void Declare(OptionSet* options) override {
    options->Text("-m,--model", &model_, "Hugging Face folder or GGUF file");
    options->Text("--template", &template_, "a .jinja file, instead of a model");
    options->Flag("--jsonl", &jsonl_,
                  "stdin: lines {\"messages\": [...], \"tools\": [...], \"add_generation_prompt\": "
                  "true, \"bos_token\": \"\", \"kwargs\": {}}; stdout: lines {\"text\": ...}");
    options->Flag("--origins", &origins_, "with --jsonl: also where each span came from");
    options->Flag("--source", &source_, "print the template's source");
  }

  ExitCode Run(const OptionSet&) override {
    if (model_.empty() == template_.empty())
      throw UsageError("expected one of -m MODEL and --template FILE");
    const auto chat = OpenTemplate(model_.empty() ? template_ : model_);
    if (source_) {
      fmt::print("{}\n", chat->source());
      return ExitCode::kOk;
    }
    if (!jsonl_) throw UsageError("expected --jsonl or --source");
    LineReader lines(STDIN_FILENO, "stdin", limits::kJsonlLineBytes);
    for (std::string line; lines.Next(&line);) {
      if (!line.empty()) RunLine(*chat, line, fmt::format("stdin: line {}", lines.line_number()));
    }
    return ExitCode::kOk;
  }

 private:
  void RunLine(const ChatTemplate& chat, const std::string& line, const std::string& where) const {
    const Json json = ParseJson(line, where);
    const JsonReader reader(json, where);
    ChatInput input;
    input.messages = Json(reader.Array("messages"));
    if (reader.Has("tools")) input.tools = Json(reader.Array("tools"));
    input.add_generation_prompt = reader.BoolOr("add_generation_prompt", false);
    input.bos_token = reader.StringOr("bos_token", "");
    input.eos_token = reader.StringOr("eos_token", "");
    if (reader.Has("kwargs")) input.kwargs = reader.Object("kwargs").json();
    const Rendered rendered = chat.Render(input);
    Json out = Json::MakeObject();
    out.Set("text", rendered.Text());
    if (origins_) out.Set("spans", Spans(rendered));
    fmt::print("{}\n", DumpJson(out));
  }

  static Json Spans(const Rendered& rendered) {
    static constexpr const char* kKinds[] = {"template", "message", "tools", "other"};
    Json spans = Json::MakeArray();
    for (const RenderedSpan& span : rendered.spans) {
      Json item = Json::MakeObject();
      item.Set("text", span.text);
      item.Set("origin", kKinds[static_cast<size_t>(span.origin.kind)]);
      if (span.origin.kind == Origin::Kind::kMessage) item.Set("message", span.origin.message);
      spans.Append(std::move(item));
    }
    return spans;
  }

  std::string model_, template_;
  bool jsonl_ = false, origins_ = false, source_ = false;
};

}  // namespace

std::unique_ptr<Verb> MakeTemplate() { return std::make_unique<TemplateVerb>(); }

}  // namespace planish
