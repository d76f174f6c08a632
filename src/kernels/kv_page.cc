// SPDX-License-Identifier: Apache-2.0
// Rounding and placing keys and values in pages; see kv_page.h.
#include "kernels/kv_page.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/error.h"

// The order of these includes matters.
// clang-format off
#include "kernels/matmul_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kv_page.cc"
#include "hwy/foreach_target.h"
#include "kernels/vector_math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace planish {
namespace HWY_NAMESPACE {
namespace {

void RoundToBF16(const float* in, size_t n, uint16_t* out) {
  for (size_t i = 0; i < n; ++i) out[i] = BF16FromFloat(in[i]);
}

void RoundToF16(const float* in, size_t n, uint16_t* out) {
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR  // scalar code of Highway does not round to nearest
  const FloatTag d;
  const hn::Rebind<hwy::float16_t, FloatTag> half;
  for (; i + kLanes <= n; i += kLanes) {
    hn::StoreU(hn::DemoteTo(half, hn::LoadU(d, in + i)), half,
               reinterpret_cast<hwy::float16_t*>(out + i));
  }
#endif
  for (; i < n; ++i) out[i] = F16FromFloat(in[i]);
}

// One group of n <= 32 values: codes and the F16 scale. As q8_0 of ggml: the codes are of the unrounded scale.
void QuantiseGroup(const float* in, size_t n, int8_t* codes, uint16_t* scale) {
  uint32_t largest = 0;  // of the bits: NaN is above all
  for (size_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::bit_cast<uint32_t>(in[i]) & 0x7FFFFFFFu);
  }
  const float d = std::bit_cast<float>(largest) / 127.0f;
  if (!(d <= std::numeric_limits<float>::max())) {
    std::fill(codes, codes + n, int8_t{0});
    *scale = F16FromFloat(std::numeric_limits<float>::quiet_NaN());
    return;
  }
  const float inverse = d > 0 ? 1.0f / d : 0.0f;
  *scale = F16FromFloat(d);
  for (size_t i = 0; i < n; ++i) {
    // |in| / d can exceed 127 when d is subnormal.
    const float code = std::clamp(in[i] * inverse, -127.0f, 127.0f);
    codes[i] = static_cast<int8_t>(code + std::copysign(0.5f, code));
  }
}

// [T, head_dim] of one kv head into its part of the page.
void WriteHead(const KvLayout& layout, const float* k, size_t k_stride, const float* v,
               size_t v_stride, size_t T, size_t offset, std::byte* head) {
  const size_t P = layout.head_dim;
  std::byte* values = head + layout.Values();
  switch (layout.type) {
    case DType::kF32: {
      auto* keys = reinterpret_cast<float*>(head) + offset;
      for (size_t c = 0; c < P; ++c) {
        for (size_t t = 0; t < T; ++t) keys[c * kKvPagePositions + t] = k[t * k_stride + c];
      }
      for (size_t t = 0; t < T; ++t) {
        std::memcpy(values + (offset + t) * P * 4, v + t * v_stride, P * 4);
      }
      return;
    }
    case DType::kQ8_0: {
      auto* keys = reinterpret_cast<int8_t*>(head);
      auto* key_scales = reinterpret_cast<uint16_t*>(head + layout.KeyScales());
      auto* value_codes = reinterpret_cast<int8_t*>(values);
      auto* value_scales = reinterpret_cast<uint16_t*>(head + layout.ValueScales());
      for (size_t t = 0; t < T; ++t) {
        const size_t position = offset + t;
        for (size_t c = 0; c < P; c += 32) {
          const size_t n = std::min<size_t>(32, P - c),
                       scale = c / 32 * kKvPagePositions + position;
          int8_t codes[32] = {};
          QuantiseGroup(k + t * k_stride + c, n, codes, &key_scales[scale]);
          for (size_t i = 0; i < n; i += 4) {
            std::memcpy(keys + ((c + i) / 4 * kKvPagePositions + position) * 4, codes + i, 4);
          }
          QuantiseGroup(v + t * v_stride + c, n, value_codes + position * P + c,
                        &value_scales[scale]);
        }
      }
      return;
    }
    default: {
      const auto round = layout.type == DType::kF16 ? RoundToF16 : RoundToBF16;
      auto* keys = reinterpret_cast<uint16_t*>(head) + offset;
      constexpr size_t kRows = 32, kChannels = 64;  // 4 KiB of rounded rows, then their transpose
      uint16_t rounded[kRows][kChannels];
      for (size_t t0 = 0; t0 < T; t0 += kRows) {
        const size_t rows = std::min(kRows, T - t0);
        for (size_t c0 = 0; c0 < P; c0 += kChannels) {
          const size_t channels = std::min(kChannels, P - c0);
          for (size_t t = 0; t < rows; ++t) {
            round(k + (t0 + t) * k_stride + c0, channels, rounded[t]);
          }
          for (size_t c = 0; c < channels; ++c) {
            uint16_t* to = keys + (c0 + c) * kKvPagePositions + t0;
            for (size_t t = 0; t < rows; ++t) to[t] = rounded[t][c];
          }
        }
      }
      for (size_t t = 0; t < T; ++t) {
        round(v + t * v_stride, P, reinterpret_cast<uint16_t*>(values) + (offset + t) * P);
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace planish
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace planish {

HWY_EXPORT(WriteHead);

void WriteKvPage(const KvLayout& layout, const float* k, size_t k_stride, const float* v,
                 size_t v_stride, size_t T, size_t offset, std::byte* page) noexcept {
  PLANISH_DCHECK(offset + T <= kKvPagePositions);
  for (size_t head = 0; head < layout.kv_heads; ++head) {
    HWY_DYNAMIC_DISPATCH(WriteHead)
    (layout, k + head * layout.head_dim, k_stride, v + head * layout.head_dim, v_stride, T, offset,
     page + head * layout.HeadBytes());
  }
}

void WriteKv(const KvLayout& layout, const float* k, size_t k_stride, const float* v,
             size_t v_stride, size_t T, size_t first_position,
             std::span<std::byte* const> pages) noexcept {
  for (size_t t = 0; t < T;) {
    const size_t position = first_position + t, offset = position % kKvPagePositions;
    const size_t n = std::min(T - t, kKvPagePositions - offset);
    WriteKvPage(layout, k + t * k_stride, k_stride, v + t * v_stride, v_stride, n, offset,
                pages[position / kKvPagePositions]);
    t += n;
  }
}

}  // namespace planish
#endif  // HWY_ONCE
