// SPDX-License-Identifier: Apache-2.0
// Routes that describe the model and the server, and those that use its tokenizer and template only.
#include <algorithm>

#include "base/parallel.h"
#include "model/planner.h"
#include "serve/chat_request.h"
#include "serve/generation.h"
#include "serve/server.h"

namespace planish {
namespace {

constexpr int64_t kDetokenized = 4u << 20;  // ids in one request

const char* Name(ThinkingSupport::Toggle toggle) {
  static constexpr const char* kNames[] = {"none", "slash_command", "chat_template_kwargs",
                                           "detailed_thinking"};
  return kNames[static_cast<size_t>(toggle)];
}

Json Count(size_t n) { return Json(static_cast<uint64_t>(n)); }

Json Ids(const std::vector<int32_t>& ids) {
  Json out = Json::MakeArray();
  for (const int32_t id : ids) out.Append(int64_t{id});
  return out;
}

}  // namespace

Json Server::ModelJson() const {
  const Pretrained& opened = engine_->opened();
  Json layers = Json::MakeObject();
  for (const char* name : {"attention", "mamba2", "ffn", "linear"}) {
    const auto kind =
        std::find_if(std::begin(kMixerNames), std::end(kMixerNames),
                     [&](const char* known) { return std::string_view(known) == name; });
    const size_t count = opened.config.CountBlocks(static_cast<size_t>(kind - kMixerNames));
    if (count > 0 || std::string_view(name) != "linear") layers.Set(name, Count(count));
  }
  Json thinking = Json::MakeObject();
  thinking.Set("supported", opened.thinking.supported);
  thinking.Set("toggle", Name(opened.thinking.toggle));
  thinking.Set("default_on", opened.thinking.default_on);
  Json meta = Json::MakeObject();
  meta.Set("family", ModelType(opened.config.family));
  meta.Set("n_params", MakePlan(opened.config, {}).parameters);
  meta.Set("size_bytes", opened.file_bytes);
  meta.Set("n_ctx_train", Count(opened.config.max_position));
  meta.Set("n_vocab", Count(opened.config.vocab_size));
  meta.Set("layers", std::move(layers));
  meta.Set("thinking", std::move(thinking));
  meta.Set("tools", opened.chat_template != nullptr);
  Json out = Json::MakeObject();
  out.Set("id", state_.model_name);
  out.Set("object", "model");
  out.Set("created", state_.created);
  out.Set("owned_by", "planish");
  out.Set("max_model_len", Count(engine_->context()));
  out.Set("meta", std::move(meta));
  return out;
}

HttpResponse Server::Models(const Call&) {
  Json out = Json::MakeObject();
  out.Set("object", "list");
  out.Set("data", Json::Array{ModelJson()});
  return JsonResponse(out);
}

HttpResponse Server::ModelByName(const Call& call) {
  if (call.rest != state_.model_name)
    throw ApiError(
        404, "model_not_found",
        fmt::format("there is no model {}, only {}", Quoted(call.rest), state_.model_name),
        "model");
  return JsonResponse(ModelJson());
}

HttpResponse Server::Props(const Call&) {
  const Pretrained& opened = engine_->opened();
  const ServeSettings& settings = state_.settings;
  const SamplingParams sampling = DefaultSampling(opened.generation);
  Json defaults = Json::MakeObject();
  defaults.Set("temperature", sampling.temperature);
  defaults.Set("top_p", sampling.top_p);
  defaults.Set("top_k", sampling.top_k);
  defaults.Set("min_p", sampling.min_p);
  defaults.Set("repetition_penalty", sampling.repetition_penalty);
  Json thinking = Json::MakeObject();
  thinking.Set("budget", settings.thinking.budget >= 0 ? Json(settings.thinking.budget) : Json());
  thinking.Set("budget_max",
               settings.thinking.budget_max >= 0 ? Json(settings.thinking.budget_max) : Json());
  Json out = Json::MakeObject();
  out.Set("model", ModelJson());
  out.Set("version", settings.version);
  out.Set("context", Count(engine_->context()));
  out.Set("slots", Count(settings.slots));
  out.Set("threads", ThreadCount());
  out.Set("max_queue", Count(settings.max_queue));
  out.Set("max_queued_tokens", Count(settings.max_queued_tokens));
  out.Set("sampling", std::move(defaults));
  out.Set("thinking", std::move(thinking));
  out.Set("chat_template",
          opened.chat_template == nullptr ? Json() : Json(opened.chat_template->source()));
  out.Set("demo_tools", settings.has_demo_tools);
  return JsonResponse(out);
}

HttpResponse Server::Slots(const Call&) {
  const auto published = engine_->published();
  Json slots = Json::MakeArray();
  for (const SlotInfo& slot : published.slots) {
    Json entry = Json::MakeObject();
    entry.Set("id", slot.id);
    entry.Set("state", planish::Name(slot.phase));
    entry.Set("paused", slot.is_paused);
    entry.Set("background", slot.is_background);
    entry.Set("priority", slot.priority);
    entry.Set("prompt_tokens", Count(slot.prompt_tokens));
    entry.Set("prompt_done", Count(slot.prompt_done));
    entry.Set("cached_tokens", Count(slot.cached_tokens));
    entry.Set("generated_tokens", Count(slot.generated));
    entry.Set("max_tokens", Count(slot.max_new_tokens));
    entry.Set("state_bytes", Count(slot.state_bytes));
    entry.Set("age_s", slot.age_s);
    slots.Append(std::move(entry));
  }
  const EngineStats& stats = published.stats;
  Json out = Json::MakeObject();
  out.Set("slots", Count(state_.settings.slots));
  out.Set("running", Count(stats.running));
  out.Set("waiting", Count(stats.waiting));
  out.Set("waiting_tokens", Count(stats.waiting_tokens));
  out.Set("requests", std::move(slots));
  return JsonResponse(out);
}

HttpResponse Server::Tokenize(const Call& call) {
  const Json body = ParseBody(call.request());
  Fields fields(body);
  const Pretrained& opened = engine_->opened();
  std::vector<int32_t> ids;
  // vLLM's name adds special tokens unless told otherwise, llama.cpp's does not.
  const auto prompt = fields.Text("prompt", SIZE_MAX), content = fields.Text("content", SIZE_MAX);
  if (fields.Find("messages") != nullptr) {
    ids = EncodeChat(opened, ReadMessages(fields.Find("messages")),
                     {.add_generation_prompt = fields.Bool("add_generation_prompt").value_or(true),
                      .tools = ReadTools(fields.Find("tools"))})
              .ids;
  } else {
    if (!prompt && !content) throw InvalidValue("prompt", "prompt (or content) is missing");
    const bool add_special = fields.Bool("add_special_tokens")
                                 .value_or(fields.Bool("add_special").value_or(prompt.has_value()));
    const bool parse_special = fields.Bool("parse_special").value_or(true);
    ids = opened.tokenizer->Encode(prompt ? *prompt : *content,
                                   {.parse_special = parse_special, .add_special = add_special});
  }
  Json out = Json::MakeObject();
  const size_t count = ids.size();
  if (fields.Bool("return_token_strs").value_or(fields.Bool("with_pieces").value_or(false))) {
    Json pieces = Json::MakeArray();
    for (const int32_t id : ids) {
      const int32_t one[] = {id};
      pieces.Append(opened.tokenizer->Decode(one));
    }
    out.Set("token_strs", std::move(pieces));
  }
  out.Set("tokens", Ids(ids));
  out.Set("count", Count(count));
  out.Set("max_model_len", Count(engine_->context()));
  return JsonResponse(out);
}

HttpResponse Server::Detokenize(const Call& call) {
  const Json body = ParseBody(call.request());
  Fields fields(body);
  const Json* tokens = fields.Find("tokens");
  if (tokens == nullptr || !tokens->is_array())
    throw InvalidValue("tokens", "tokens is missing or no list of ids");
  const Pretrained& opened = engine_->opened();
  const auto vocab_size = static_cast<int64_t>(opened.config.vocab_size);
  std::vector<int32_t> ids;
  for (const Json& id : tokens->AsArray()) {
    if (!id.is_integer() || id.AsInt() < 0 || id.AsInt() >= vocab_size ||
        static_cast<int64_t>(ids.size()) >= kDetokenized)
      throw InvalidValue("tokens", "tokens has an entry that is no id from 0 to {}",
                         vocab_size - 1);
    ids.push_back(static_cast<int32_t>(id.AsInt()));
  }
  const std::string text =
      opened.tokenizer->Decode(ids, fields.Bool("skip_special_tokens").value_or(false));
  Json out = Json::MakeObject();
  out.Set("prompt", text);
  out.Set("content", text);
  return JsonResponse(out);
}

HttpResponse Server::TokenizerInfo(const Call&) {
  const Pretrained& opened = engine_->opened();
  Json out = Json::MakeObject();
  out.Set("tokenizer_class", "PreTrainedTokenizerFast");
  out.Set("chat_template",
          opened.chat_template == nullptr ? Json() : Json(opened.chat_template->source()));
  out.Set("bos_token", opened.bos_token.empty() ? Json() : Json(opened.bos_token));
  out.Set("eos_token", opened.eos_token.empty() ? Json() : Json(opened.eos_token));
  std::string pad = opened.eos_token;
  if (opened.config.pad_id && opened.tokenizer != nullptr)
    pad = std::string(opened.tokenizer->TokenBytes(*opened.config.pad_id));
  out.Set("pad_token", pad.empty() ? Json() : Json(pad));
  out.Set("eos_token_id", Ids(opened.eos_ids));
  out.Set("vocab_size", Count(opened.config.vocab_size));
  out.Set("model_max_length", Count(engine_->context()));
  out.Set("add_bos_token", opened.tokenizer != nullptr && !opened.tokenizer->PrefixIds().empty());
  return JsonResponse(out);
}

HttpResponse Server::ApplyTemplate(const Call& call) {
  const Json body = ParseBody(call.request());
  Fields fields(body);
  const Pretrained& opened = engine_->opened();
  ChatInputs chat = ReadChatInputs(&fields);
  const ThinkingFields thinking = ReadThinkingFields(
      &fields, opened.thinking, state_.settings.thinking, chat.messages, &chat.kwargs);
  Json out = Json::MakeObject();
  try {
    out.Set("prompt", RenderChat(opened, chat.messages,
                                 {.thinking = thinking.toggle,
                                  .add_generation_prompt = chat.add_generation_prompt,
                                  .continues_final = chat.continues_final,
                                  .tools = chat.tools,
                                  .kwargs = chat.kwargs}));
  } catch (const Error& error) {
    throw ApiError(400, error.code() == ExitCode::kUsage ? "invalid_value" : "template_error",
                   error.what(), "messages");
  }
  return JsonResponse(out);
}

}  // namespace planish
