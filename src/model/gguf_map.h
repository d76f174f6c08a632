// SPDX-License-Identifier: Apache-2.0
// How Hugging Face models look inside GGUF files: architecture keys, tensor names and the changes llama.cpp's converter
// makes to values. Used in both directions, by reading and by convert.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/config.h"
#include "tensor/gguf.h"

namespace planish {

// ModelConfig of a GGUF file: general.architecture llama (Mistral too), deci, qwen3, nemotron_h. Keys that GGUF does not
// have (chunk_size, time_step_limit) take the published defaults.
ModelConfig ConfigFromGguf(const GgufFile& file);

using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;
// The architecture keys of `config`. Error(kUsage) for what GGUF cannot express: a linear FFN, and attention without FFN
// in DeciLM (llama.cpp would drop the attention's output).
GgufMetadata ConfigToGguf(const ModelConfig& config);
// Divisors of the rotary frequencies that GGUF stores as rope_freqs.weight [P/2]; empty without llama3 scaling.
std::vector<float> RopeDivisors(const ModelConfig& config, size_t head_dim);

// GGUF name of a parameter by its Hugging Face name; nullopt if GGUF has no place for it.
std::optional<std::string> GgufTensorName(const std::string& hf_name);
// Shape the converter gives the tensor, row-major: A_log and D become [H, 1], conv1d.weight [C, W], Mamba's norm [G, I/G].
Shape GgufTensorShape(const std::string& hf_name, const Shape& shape, const ModelConfig& config);

// llama and deci store q and k with the rows of every head interleaved (i, i + P/2): row r of the file is row
// PermutedRow(r) of the Hugging Face matrix. Heads of the projection if `hf_name` is affected, else 0.
size_t PermutedHeads(const std::string& hf_name, const ModelConfig& config);
size_t PermutedRow(size_t row, size_t head_dim);

// GGUF keeps A = -exp(A_log). The float A_log nearest to log(-A) whose A is bit-equal, where one exists within 4 ulp.
float ALogFromA(float a);
float AFromALog(float a_log);

}  // namespace planish
