// SPDX-License-Identifier: Apache-2.0
// Weight: a named 2-D parameter [out, in] of any stored type. It owns ONE canonical row-major
// buffer, or points into a mapped file that it keeps alive. Derived packed views (layouts for
// faster kernels) are made by Repack users and carry the version of the canonical data they were
// made from; Touch() after an optimizer step makes them stale. FP8 weights carry the scales of
// their checkpoint: one for the tensor, one a row, or one a block (value = code * scale).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/file.h"
#include "tensor/tensor.h"

namespace planish {

// A layout derived from a weight; what is in it is known to the kernel that made it.
struct PackedView {
  AlignedBuffer data;
  uint64_t version = 0;  // Weight::version() it was made from
};

class Weight {
 public:
  Weight() = default;
  // Owned float storage, e.g. for tests and training.
  Weight(std::string name, size_t out, size_t in, DType dtype = DType::kF32);
  // Into `file` (kept alive); `data` must stay inside it.
  Weight(std::string name, size_t out, size_t in, DType dtype, const std::byte* data,
         std::shared_ptr<const FileBytes> file);

  const std::string& name() const { return name_; }
  size_t out() const { return out_; }
  size_t in() const { return in_; }
  DType dtype() const { return dtype_; }
  bool empty() const { return out_ == 0; }
  size_t row_bytes() const { return BytesOf(dtype_, in_); }
  size_t bytes() const { return out_ * row_bytes(); }
  const std::byte* data() const { return data_; }
  const std::byte* row(size_t r) const { return data_ + r * row_bytes(); }
  std::byte* mutable_data();  // only for owned storage
  bool is_mapped() const { return file_ != nullptr; }
  // Gives the memory of a mapped original back to the system, as far as it fills whole pages: for weights that are read in a
  // packed view only. Reading it again fetches it from the file. Harmless for weights that are not mapped.
  void Evict() const { EvictRows(0, out_); }
  void EvictRows(size_t begin, size_t end) const;  // of rows [begin, end)

  // Row r as floats, scales applied; out has in() elements.
  void DequantizeRow(size_t r, float* out) const;

  // Scales of FP8 storage: element (r, c) is multiplied by scale[r / block_out * scale_cols + c /
  // block_in].
  struct Scales {
    Tensor values;         // [ceil(out/block_out), ceil(in/block_in)] f32
    size_t block_out = 0;  // 0: no scales
    size_t block_in = 0;
  };
  void SetScales(Scales scales);  // the shape must fit: checked
  const Scales& scales() const { return scales_; }

  uint64_t version() const { return version_; }
  void Touch() { ++version_; }
  // The view under `layout`, null if absent or stale.
  const PackedView* packed(const std::string& layout) const;
  void SetPacked(const std::string& layout, PackedView view);

 private:
  std::string name_;
  size_t out_ = 0, in_ = 0;
  DType dtype_ = DType::kF32;
  const std::byte* data_ = nullptr;
  AlignedBuffer owned_;
  std::shared_ptr<const FileBytes> file_;
  Scales scales_;
  uint64_t version_ = 1;
  std::map<std::string, PackedView> packed_;
};

}  // namespace planish
