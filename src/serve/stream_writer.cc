// SPDX-License-Identifier: Apache-2.0
#include "serve/stream_writer.h"

#include "base/error.h"

namespace planish {

std::string EscapedText(std::string_view text) {
  std::string quoted;
  AppendJsonString(text, &quoted);
  return quoted.substr(1, quoted.size() - 2);
}

const StreamWriter::Envelope& StreamWriter::EnvelopeOf(uint64_t kind, std::string_view key,
                                                       const std::function<std::string()>& make) {
  for (const auto& known : envelopes_) {
    if (known->kind == kind) return *known;
  }
  const std::string event = make();
  // Within strings quotes are escaped, so this can only be the member itself.
  const std::string member = fmt::format("\"{}\":\"\"", key);
  const size_t at = event.find(member);
  PLANISH_CHECK(at != std::string::npos, "{} has no {}", event, member);
  const size_t cut = at + member.size() - 1;
  envelopes_.push_back(
      std::make_unique<Envelope>(Envelope{kind, event.substr(0, cut), event.substr(cut)}));
  return *envelopes_.back();
}

std::string SseEvent(const Json& json) { return "data: " + DumpJson(json) + "\n\n"; }

Json TokenIds(const Choice& choice, size_t from) {
  Json ids = Json::MakeArray();
  for (size_t i = from; i < choice.tokens.size(); ++i) ids.Append(int64_t{choice.tokens[i].id});
  return ids;
}

Json StreamWriter::Head(const Generation& generation, const char* object) {
  Json head = Json::MakeObject();
  head.Set("id", generation.id());
  head.Set("object", object);
  head.Set("created", generation.created());
  head.Set("model", generation.state().model_name);
  head.Set("system_fingerprint", generation.state().fingerprint);
  head.Set("choices", Json::MakeArray());
  return head;
}

Json StreamWriter::EmptyChunk(const Generation& generation) const {
  Json chunk = Head(generation, chunk_);
  if (generation.plan().fields.include_usage) chunk.Set("usage", nullptr);
  return chunk;
}

std::string StreamWriter::Progress(const Generation& generation, size_t done, size_t total,
                                   size_t cached) {
  Json progress = Json::MakeObject(), extension = Json::MakeObject();
  progress.Set("total", static_cast<uint64_t>(total));
  progress.Set("cached", static_cast<uint64_t>(cached));
  progress.Set("done", static_cast<uint64_t>(done));
  extension.Set("progress", std::move(progress));
  Json chunk = EmptyChunk(generation);
  chunk.Set("planish", std::move(extension));
  return SseEvent(chunk);
}

std::string StreamWriter::End(const Generation& generation) {
  std::string out;
  if (generation.plan().fields.include_usage) {
    Json chunk = EmptyChunk(generation);
    chunk.Set("usage", generation.Usage());
    chunk.Set("planish", generation.Extension());
    out = SseEvent(chunk);
  }
  return out + "data: [DONE]\n\n";
}

std::string StreamWriter::Failure(const Generation&, const ApiError& error) {
  return SseEvent(ErrorJson(error));
}

}  // namespace planish
