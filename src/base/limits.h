// SPDX-License-Identifier: Apache-2.0
// Hard limits on everything read from outside. `planish info --limits` prints this table; each entry is tested at its
// edge by the parser that enforces it. A number from a file never sizes an allocation before it passed one of these
// and the size of the file itself.
#pragma once

#include <cstddef>
#include <cstdint>

namespace planish::limits {

inline constexpr uint64_t kSafetensorsHeaderBytes = 100'000'000;
inline constexpr uint64_t kSafetensorsNameBytes = 1u << 20;
inline constexpr uint64_t kSafetensorsEntryBytes = 64u
                                                   << 10;  // the object that describes one tensor
inline constexpr uint64_t kSafetensorsMetadataBytes = 16u << 20;  // one value of __metadata__
inline constexpr uint64_t kTensorsPerFile = 65'536;
inline constexpr uint64_t kShards = 1'024;
inline constexpr uint64_t kDims = 4;
inline constexpr uint64_t kDimSize = uint64_t{1} << 40;

inline constexpr uint64_t kGgufKeys = 65'536;
inline constexpr uint64_t kGgufKeyBytes = 65'535;
inline constexpr uint64_t kGgufTensorNameBytes = 63;  // GGML_MAX_NAME less the terminator
inline constexpr uint64_t kGgufStringBytes = 16u << 20;
inline constexpr uint64_t kGgufArrayElements = 16u << 20;
inline constexpr uint64_t kGgufAlignmentMin = 8;
inline constexpr uint64_t kGgufAlignmentMax = 65'536;

inline constexpr uint64_t kLayers = 1'024;
inline constexpr uint64_t kHeads = 1'024;
inline constexpr uint64_t kVocabSize = 4u << 20;
inline constexpr uint64_t kHiddenSize = 1u << 20;
inline constexpr uint64_t kIntermediateSize = 16u << 20;  // LN-Ultra's fused FFNs reach 425,984
inline constexpr uint64_t kContext = 16u << 20;

inline constexpr uint64_t kConfigBytes = 16u << 20;
inline constexpr uint64_t kTokenizerBytes = 256u << 20;
inline constexpr uint64_t kAddedTokens = 65'536;
inline constexpr uint64_t kAddedTokenBytes = 65'536;
inline constexpr uint64_t kAddedTokensTotalBytes = 2u << 20;
inline constexpr uint64_t kMerges = 4u << 20;

inline constexpr uint64_t kJsonDepth = 64;
inline constexpr uint64_t kJsonValues = 1'000'000;
inline constexpr uint64_t kTokenizerJsonValues =
    32u << 20;  // vocabulary, and merges of three values each
inline constexpr uint64_t kJsonlLineBytes = 64u << 20;
inline constexpr uint64_t kDocumentBytes =
    1u << 30;  // of a document of a training corpus; 64 MiB unless asked for

inline constexpr uint64_t kTemplateBytes = 256u << 10;
inline constexpr uint64_t kTemplateNesting = 64;
inline constexpr uint64_t kTemplateSteps = 10'000'000;
inline constexpr uint64_t kTemplateOutputBytes = 8u << 20;
inline constexpr uint64_t kTemplateRange = 100'000;
inline constexpr uint64_t kTemplateStringBytes = 1u << 20;    // result of one string repeat
inline constexpr uint64_t kTemplateMemoryBytes = 256u << 20;  // all values of one rendering
inline constexpr uint64_t kTemplateDepth =
    600;  // nested expressions, blocks and calls while rendering

inline constexpr uint32_t kRegexMatch = 10'000'000;
inline constexpr uint32_t kRegexDepth = 1'000;
inline constexpr uint32_t kRegexHeapKiB = 64u << 10;
inline constexpr uint32_t kRegexParens = 250;
inline constexpr uint64_t kRegexPatternBytes = 64u << 10;

inline constexpr uint64_t kDecompressedRatio = 200;  // after the first MiB
inline constexpr uint64_t kBatch = 1'024;

}  // namespace planish::limits
