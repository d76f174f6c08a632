// SPDX-License-Identifier: Apache-2.0
// Tensor: owned, contiguous, row-major, at most 4 dimensions, a dtype. No broadcasting, no lazy
// graph, no strides: kernels take pointers with shapes. TensorView: the same without ownership.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "tensor/dtype.h"

namespace planish {

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<size_t> dims)
      : Shape(std::span<const size_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const size_t> dims) : count_(dims.size()) {
    PLANISH_CHECK(dims.size() <= 4);
    for (size_t i = 0; i < count_; ++i) dims_[i] = dims[i];
  }
  size_t rank() const { return count_; }
  size_t operator[](size_t i) const { return dims_[i]; }
  size_t elements() const {
    size_t n = 1;
    for (size_t i = 0; i < count_; ++i) n *= dims_[i];
    return n;
  }
  size_t last() const { return count_ == 0 ? 1 : dims_[count_ - 1]; }
  std::string ToString() const;  // "[64, 128]"
  bool operator==(const Shape& other) const = default;

 private:
  size_t dims_[4] = {0, 0, 0, 0};
  size_t count_ = 0;
};

struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  const std::byte* data = nullptr;  // not owned; may be unaligned when it points into a file

  size_t elements() const { return shape.elements(); }
  size_t bytes() const { return BytesOf(dtype, shape.elements()); }
  const float* f32() const {
    PLANISH_CHECK(dtype == DType::kF32);
    return reinterpret_cast<const float*>(data);
  }
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape)
      : dtype_(dtype), shape_(shape), buffer_(BytesOf(dtype, shape.elements())) {}
  static Tensor F32(Shape shape) { return Tensor(DType::kF32, shape); }
  static Tensor ZerosF32(Shape shape);
  // The values of `view` as float, whatever its type.
  static Tensor ToF32(const TensorView& view);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  size_t elements() const { return shape_.elements(); }
  size_t bytes() const { return buffer_.size(); }
  std::byte* data() { return buffer_.data(); }
  const std::byte* data() const { return buffer_.data(); }
  float* f32() {
    PLANISH_CHECK(dtype_ == DType::kF32);
    return reinterpret_cast<float*>(buffer_.data());
  }
  const float* f32() const { return const_cast<Tensor*>(this)->f32(); }
  // Row r of a 2-D float tensor.
  float* row(size_t r) { return f32() + r * shape_.last(); }
  const float* row(size_t r) const { return f32() + r * shape_.last(); }
  TensorView view() const { return {dtype_, shape_, buffer_.data()}; }

 private:
  DType dtype_ = DType::kF32;
  Shape shape_;
  AlignedBuffer buffer_;
};

}  // namespace planish
