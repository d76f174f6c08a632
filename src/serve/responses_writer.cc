// SPDX-License-Identifier: Apache-2.0
#include "serve/responses_writer.h"

#include "serve/request_ids.h"

namespace planish {

std::string ResponsesWriter::Event(const char* type, Json event) {
  event.Set("type", type);
  event.Set("sequence_number", sequence_++);
  return fmt::format("event: {}\ndata: {}\n\n", type, DumpJson(event));
}

Json ResponsesWriter::Place() const {
  Json place = Json::MakeObject();
  place.Set("item_id", items_.back().id);
  place.Set("output_index", static_cast<uint64_t>(items_.size() - 1));
  return place;
}

Json ResponsesWriter::PartJson(const Item& item) const {
  Json part = Json::MakeObject();
  part.Set("type", item.kind == Kind::kReasoning ? "reasoning_text" : "output_text");
  part.Set("text", item.text);
  if (item.kind == Kind::kMessage) part.Set("annotations", Json::MakeArray());
  return part;
}

Json ResponsesWriter::ItemJson(const Item& item, bool is_done) const {
  Json json = Json::MakeObject();
  json.Set("id", item.id);
  const char* status = is_done ? "completed" : "in_progress";
  switch (item.kind) {
    case Kind::kReasoning:
      json.Set("type", "reasoning");
      json.Set("summary", Json::MakeArray());
      json.Set("content", is_done ? Json(Json::Array{PartJson(item)}) : Json::MakeArray());
      break;
    case Kind::kMessage:
      json.Set("type", "message");
      json.Set("role", "assistant");
      json.Set("content", is_done ? Json(Json::Array{PartJson(item)}) : Json::MakeArray());
      break;
    case Kind::kCall:
      json.Set("type", "function_call");
      json.Set("call_id", item.call);
      json.Set("name", item.name);
      json.Set("arguments", item.text);
      break;
  }
  json.Set("status", status);
  return json;
}

Json ResponsesWriter::Response(const Generation& generation, const char* status) const {
  Json out = Json::MakeObject(), items = Json::MakeArray();
  for (const Item& item : items_) items.Append(ItemJson(item, true));
  out.Set("id", generation.id());
  out.Set("object", "response");
  out.Set("created_at", generation.created());
  out.Set("status", status);
  out.Set("error", nullptr);
  Json details;
  if (std::string_view(status) == "incomplete") {
    details = Json::MakeObject();
    details.Set("reason", "max_output_tokens");
  }
  out.Set("incomplete_details", std::move(details));
  out.Set("model", generation.state().model_name);
  out.Set("output", std::move(items));
  for (const char* name : {"instructions", "tools", "tool_choice", "parallel_tool_calls", "text",
                           "reasoning", "max_output_tokens", "metadata"}) {
    if (const Json* value = request_.Find(name)) out.Set(name, *value);
  }
  if (out.Find("tools") == nullptr) out.Set("tools", Json::MakeArray());
  if (out.Find("tool_choice") == nullptr) out.Set("tool_choice", "auto");
  if (out.Find("parallel_tool_calls") == nullptr) out.Set("parallel_tool_calls", true);
  const SamplingParams& sampling = generation.plan().fields.sampling;
  out.Set("temperature", sampling.temperature);
  out.Set("top_p", sampling.top_p);
  out.Set("store", false);
  if (std::string_view(status) == "in_progress") {
    out.Set("usage", nullptr);
    return out;
  }
  const Json chat = generation.Usage();
  Json usage = Json::MakeObject();
  usage.Set("input_tokens", *chat.Find("prompt_tokens"));
  usage.Set("input_tokens_details", *chat.Find("prompt_tokens_details"));
  usage.Set("output_tokens", *chat.Find("completion_tokens"));
  usage.Set("output_tokens_details", *chat.Find("completion_tokens_details"));
  usage.Set("total_tokens", *chat.Find("total_tokens"));
  out.Set("usage", std::move(usage));
  out.Set("planish", generation.Extension());
  return out;
}

std::string ResponsesWriter::Begin(const Generation& generation) {
  std::string out;
  for (const char* type : {"response.created", "response.in_progress"}) {
    Json event = Json::MakeObject();
    event.Set("response", Response(generation, "in_progress"));
    out += Event(type, std::move(event));
  }
  return out;
}

std::string ResponsesWriter::Open(Kind kind, const Choice& choice, size_t call) {
  std::string out = CloseItem();
  Item item{.kind = kind};
  item.id = (kind == Kind::kReasoning ? "rs_"
             : kind == Kind::kMessage ? "msg_"
                                      : "fc_") +
            RandomBase32(26);
  if (kind == Kind::kCall && call < choice.calls.size()) {
    item.name = choice.calls[call].name;
    item.call = choice.calls[call].id;
  }
  items_.push_back(std::move(item));
  is_open_ = true;
  Json added = Json::MakeObject();
  added.Set("output_index", static_cast<uint64_t>(items_.size() - 1));
  added.Set("item", ItemJson(items_.back(), false));
  out += Event("response.output_item.added", std::move(added));
  if (kind != Kind::kCall) {
    Json part = Place();
    part.Set("content_index", 0);
    part.Set("part", PartJson(items_.back()));
    out += Event("response.content_part.added", std::move(part));
  }
  return out;
}

std::string ResponsesWriter::Append(const std::string& text) {
  Item& item = items_.back();
  item.text += text;
  Json event = Place();
  if (item.kind != Kind::kCall) event.Set("content_index", 0);
  event.Set("delta", text);
  if (item.kind == Kind::kMessage) event.Set("logprobs", Json::MakeArray());
  return Event(item.kind == Kind::kReasoning ? "response.reasoning_text.delta"
               : item.kind == Kind::kMessage ? "response.output_text.delta"
                                             : "response.function_call_arguments.delta",
               std::move(event));
}

std::string ResponsesWriter::CloseItem() {
  if (!is_open_) return {};
  is_open_ = false;
  const Item& item = items_.back();
  std::string out;
  Json done = Place();
  if (item.kind == Kind::kCall) {
    done.Set("arguments", item.text);
    done.Set("name", item.name);
    out += Event("response.function_call_arguments.done", std::move(done));
  } else {
    done.Set("content_index", 0);
    done.Set("text", item.text);
    if (item.kind == Kind::kMessage) done.Set("logprobs", Json::MakeArray());
    out += Event(item.kind == Kind::kReasoning ? "response.reasoning_text.done"
                                               : "response.output_text.done",
                 std::move(done));
    Json part = Place();
    part.Set("content_index", 0);
    part.Set("part", PartJson(item));
    out += Event("response.content_part.done", std::move(part));
  }
  Json ended = Json::MakeObject();
  ended.Set("output_index", static_cast<uint64_t>(items_.size() - 1));
  ended.Set("item", ItemJson(item, true));
  return out + Event("response.output_item.done", std::move(ended));
}

std::string ResponsesWriter::Piece(const Generation&, const Choice& choice, const Delta& delta) {
  std::string out;
  for (const ReplyEvent& event : delta.events) {
    switch (event.kind) {
      case ReplyEvent::Kind::kReasoning:
      case ReplyEvent::Kind::kContent: {
        const Kind kind =
            event.kind == ReplyEvent::Kind::kReasoning ? Kind::kReasoning : Kind::kMessage;
        if (!is_open_ || items_.back().kind != kind) out += Open(kind, choice, 0);
        out += Append(event.text);
        break;
      }
      case ReplyEvent::Kind::kCall:
        out += Open(Kind::kCall, choice, event.index);
        break;
      case ReplyEvent::Kind::kArguments:
        if (is_open_ && items_.back().kind == Kind::kCall) out += Append(event.text);
        break;
      case ReplyEvent::Kind::kCallEnd:
        out += CloseItem();
        break;
    }
  }
  return out;
}

std::string ResponsesWriter::ChoiceEnd(const Generation&, const Choice&) { return CloseItem(); }

std::string ResponsesWriter::End(const Generation& generation) {
  const bool is_cut = generation.choices()[0]->finish_reason == "length";
  Json event = Json::MakeObject();
  event.Set("response", Response(generation, is_cut ? "incomplete" : "completed"));
  return Event(is_cut ? "response.incomplete" : "response.completed", std::move(event));
}

std::string ResponsesWriter::Failure(const Generation& generation, const ApiError& error) {
  Json reason = Json::MakeObject(), event = Json::MakeObject();
  reason.Set("code", error.code().empty() ? "server_error" : error.code());
  reason.Set("message", std::string(error.what()));
  Json response = Response(generation, "failed");
  response.Set("error", std::move(reason));
  event.Set("response", std::move(response));
  return Event("response.failed", std::move(event));
}

// The same items as a stream's, from the finished choice.
Json ResponsesWriter::Whole(const Generation& generation) {
  const Choice& choice = *generation.choices()[0];
  if (!choice.reasoning.empty())
    items_.push_back({Kind::kReasoning, "rs_" + RandomBase32(26), choice.reasoning, "", ""});
  if (!choice.content.empty() || choice.calls.empty())
    items_.push_back({Kind::kMessage, "msg_" + RandomBase32(26), choice.content, "", ""});
  for (const SpokenCall& call : choice.calls)
    items_.push_back({Kind::kCall, "fc_" + RandomBase32(26), call.arguments, call.name, call.id});
  return Response(generation, choice.finish_reason == "length" ? "incomplete" : "completed");
}

}  // namespace planish
