// SPDX-License-Identifier: Apache-2.0
// Rows have the ids of their text, do not depend on how often they are read, and leave out what is held out.
#include "compress/calibration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/testing.h"
#include "data/token_file.h"
#include "model/random_model.h"

namespace planish {
namespace {

using testing::TemporaryDir;

constexpr const char* kConfig = R"({"model_type": "llama", "hidden_size": 32, "vocab_size": 300,
  "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2,
  "num_key_value_heads": 1, "head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-5,
  "rope_theta": 10000.0, "max_position_embeddings": 512, "bos_token_id": 256, "eos_token_id": 257})";

// Bytes are tokens of this model.
Pretrained ByteModel() {
  return RandomModel(ConfigFromJson(ParseJson(kConfig, "config"), "config"), "bytes");
}

std::string TextOf(const Pretrained& model, const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += id == 257 ? "|" : model.tokenizer->TokenBytes(id);
  return text;
}

// Documents "aaaa", "bbbb", ... of 4 letters.
std::string Letters(size_t count) {
  std::string lines;
  for (size_t i = 0; i < count; ++i)
    lines += "{\"text\": \"" + std::string(4, static_cast<char>('a' + i)) + "\"}\n";
  return lines;
}

TEST(Calibration, RowsAreTheDocumentsJoinedByTheEndTokenAndCut) {
  const TemporaryDir dir;
  WriteFile(dir / "a.jsonl", Letters(4));
  const Pretrained model = ByteModel();
  const CalibrationRows rows =
      ReadCalibration(model, {.inputs = {dir / "a.jsonl"}, .samples = 2, .seq_len = 10});
  ASSERT_EQ(rows.rows.size(), 2u);
  EXPECT_EQ(TextOf(model, rows.rows[0]), "aaaa|bbbb|");
  EXPECT_EQ(TextOf(model, rows.rows[1]), "cccc|dddd|");
  EXPECT_EQ(rows.tokens(), 20u);
  EXPECT_EQ(rows.description, "a.jsonl: 2 rows of 10 tokens");
}

TEST(Calibration, ChoiceFollowsTheSeedAndKeepsTheOrderOfTheText) {
  const TemporaryDir dir;
  WriteFile(dir / "a.jsonl", Letters(26));
  const Pretrained model = ByteModel();
  CalibrationOptions options{.inputs = {dir / "a.jsonl"}, .samples = 5, .seq_len = 5};
  std::set<uint64_t> hashes;
  for (options.seed = 0; options.seed < 8; ++options.seed) {
    const CalibrationRows rows = ReadCalibration(model, options);
    EXPECT_TRUE(std::is_sorted(rows.rows.begin(), rows.rows.end()));
    EXPECT_EQ(std::set(rows.rows.begin(), rows.rows.end()).size(), 5u);
    EXPECT_EQ(rows.hash, ReadCalibration(model, options).hash);
    hashes.insert(rows.hash);
  }
  EXPECT_GT(hashes.size(), 4u) << "seeds choose other rows";
}

TEST(Calibration, HeldOutDocumentsAreThoseThatCalibrationLeaves) {
  const TemporaryDir dir;
  WriteFile(dir / "a.jsonl", Letters(20));
  const Pretrained model = ByteModel();
  const CalibrationOptions options{
      .inputs = {dir / "a.jsonl"}, .samples = 15, .seq_len = 5, .held_out = 0.25};
  const CalibrationRows used = ReadCalibration(model, options),
                        left = ReadHeldOut(model, options, 5);
  std::set<std::vector<int32_t>> all(used.rows.begin(), used.rows.end());
  all.insert(left.rows.begin(), left.rows.end());
  EXPECT_EQ(all.size(), 20u);
  EXPECT_EQ(TextOf(model, left.rows[0]), "dddd|");
  EXPECT_THROW(ReadHeldOut(model, options, 6), Error);
}

TEST(Calibration, OneLongTextHasAHeldOutPartToo) {
  const TemporaryDir dir;
  std::string text;
  for (int i = 0; i < 100; ++i) text += fmt::format("{:04}", i);
  WriteFile(dir / "book.txt", text);
  const Pretrained model = ByteModel();
  const CalibrationOptions options{
      .inputs = {dir / "book.txt"}, .samples = 60, .seq_len = 4, .held_out = 0.4};
  const CalibrationRows used = ReadCalibration(model, options),
                        left = ReadHeldOut(model, options, 40);
  std::set<std::vector<int32_t>> all(used.rows.begin(), used.rows.end());
  all.insert(left.rows.begin(), left.rows.end());
  EXPECT_EQ(all.size(), 100u);
}

TEST(Calibration, ARowOfConversationsBeginsWithOne) {
  const TemporaryDir dir;
  std::string lines;
  for (const char* name : {"A", "B", "C", "D", "E", "F"})
    lines += fmt::format(
        R"({{"messages": [{{"role": "user", "content": "{}"}}, {{"role": "assistant", "content": "yes"}}]}})"
        "\n",
        name);
  WriteFile(dir / "chat.jsonl", lines);
  Pretrained model = ByteModel();
  const CalibrationOptions options{.inputs = {dir / "chat.jsonl"}, .samples = 3, .seq_len = 30};
  EXPECT_THROW(ReadCalibration(model, options), Error) << "no template";
  model.chat_template = ChatTemplate::Parse(
      "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
      "{% if add_generation_prompt %}[assistant:{% endif %}",
      "template");
  model.thinking = model.chat_template->DetectThinking();
  const CalibrationRows rows = ReadCalibration(model, options);
  EXPECT_EQ(TextOf(model, rows.rows[0]), "[user:A][assistant:yes][user:B");
  EXPECT_EQ(TextOf(model, rows.rows[1]), "[user:C][assistant:yes][user:D");
  EXPECT_EQ(TextOf(model, rows.rows[2]), "[user:E][assistant:yes][user:F");
}

TEST(Calibration, TokenFilesAreReadAsTheyAreAndOnlyWithTheirTokenizer) {
  const TemporaryDir dir;
  Pretrained model = ByteModel();
  const auto write = [&](const std::string& path, const std::string& hash) {
    TokenFileWriter writer(path,
                           {.vocab_size = 300, .tokenizer_hash = hash, .tokenizer_name = "bytes"});
    for (int d = 0; d < 6; ++d) writer.Append(std::vector<TokenId>{d, d, 257}, 3);
    writer.Commit();
  };
  write(dir / "good.tok", TokenizerHash(*model.tokenizer));
  write(dir / "other.tok", std::string(64, '0'));
  const CalibrationRows rows =
      ReadCalibration(model, {.inputs = {dir / "good.tok"}, .samples = 3, .seq_len = 6});
  EXPECT_EQ(rows.rows[1], (std::vector<int32_t>{2, 2, 257, 3, 3, 257}));
  EXPECT_THROW(ReadCalibration(model, {.inputs = {dir / "other.tok"}, .samples = 3, .seq_len = 6}),
               Error);
}

TEST(Calibration, TooLittleTextSaysHowManyRowsThereAre) {
  const TemporaryDir dir;
  WriteFile(dir / "a.jsonl", Letters(4));
  const Pretrained model = ByteModel();
  try {
    ReadCalibration(model, {.inputs = {dir / "a.jsonl"}, .samples = 5, .seq_len = 8});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadFile);
    EXPECT_EQ(std::string(error.what()),
              "a.jsonl: the text gives 2 rows of 8 tokens, asked for are 5");
  }
  EXPECT_THROW(ReadCalibration(model, {.inputs = {}}), Error);
  EXPECT_THROW(ReadCalibration(model, {.inputs = {dir / "none.jsonl"}}), Error);
}

}  // namespace
}  // namespace planish
