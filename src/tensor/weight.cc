// SPDX-License-Identifier: Apache-2.0
#include "tensor/weight.h"

#include <algorithm>

#include "tensor/blocks.h"

namespace planish {

Weight::Weight(std::string name, size_t out, size_t in, DType dtype)
    : name_(std::move(name)), out_(out), in_(in), dtype_(dtype) {
  PLANISH_CHECK(in % Traits(dtype).block_elems == 0, "{}: rows of {} do not fill blocks of {}",
                name_, in, Name(dtype));
  owned_ = AlignedBuffer(bytes());
  data_ = owned_.data();
}

Weight::Weight(std::string name, size_t out, size_t in, DType dtype, const std::byte* data,
               std::shared_ptr<const FileBytes> file)
    : name_(std::move(name)),
      out_(out),
      in_(in),
      dtype_(dtype),
      data_(data),
      file_(std::move(file)) {
  PLANISH_CHECK(in % Traits(dtype).block_elems == 0, "{}: rows of {} do not fill blocks of {}",
                name_, in, Name(dtype));
}

std::byte* Weight::mutable_data() {
  PLANISH_CHECK(data_ == owned_.data(), "{} is not owned", name_);
  return owned_.data();
}

void Weight::EvictRows(size_t begin, size_t end) const {
  if (file_ == nullptr) return;
  const std::span<const std::byte> all = file_->bytes();
  if (data_ < all.data() || data_ + bytes() > all.data() + all.size()) return;  // not of this file
  file_->Release(static_cast<size_t>(row(begin) - all.data()), (end - begin) * row_bytes());
}

void Weight::DequantizeRow(size_t r, float* out) const {
  PLANISH_DCHECK(r < out_, "{}: row {} of {}", name_, r, out_);
  planish::DequantizeRow(dtype_, row(r), out, in_);
  if (scales_.block_out == 0) return;
  // One multiplication a value, as in code * scale of the checkpoint's own reader; the last block
  // of a row may be cut.
  const float* scales = scales_.values.row(r / scales_.block_out);
  for (size_t begin = 0, block = 0; begin < in_; begin += scales_.block_in, ++block) {
    const size_t end = std::min(in_, begin + scales_.block_in);
    for (size_t c = begin; c < end; ++c) out[c] *= scales[block];
  }
}

void Weight::SetScales(Scales scales) {
  if (scales.block_out != 0 || scales.block_in != 0) {
    PLANISH_CHECK(scales.block_out > 0 && scales.block_in > 0, "{}: scale blocks of {} x {}", name_,
                  scales.block_out, scales.block_in);
    const Shape expected = {(out_ + scales.block_out - 1) / scales.block_out,
                            (in_ + scales.block_in - 1) / scales.block_in};
    PLANISH_CHECK(scales.values.shape() == expected, "{}: scales are {}, expected {}", name_,
                  scales.values.shape().ToString(), expected.ToString());
  }
  scales_ = std::move(scales);
}

const PackedView* Weight::packed(const std::string& layout) const {
  const auto found = packed_.find(layout);
  return found != packed_.end() && found->second.version == version_ ? &found->second : nullptr;
}

void Weight::SetPacked(const std::string& layout, PackedView view) {
  if (view.version == 0) view.version = version_;
  packed_[layout] = std::move(view);
}

}  // namespace planish
