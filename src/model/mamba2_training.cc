// SPDX-License-Identifier: Apache-2.0
// Forward and backward of the Mamba-2 mixer over packed documents, slice by slice: forward hands the convolution's window and the
// state from slice to slice; backward walks the slices from the last to the first and hands back the gradient of the state and
// what the window's rows still get. Rows between the kernels are of the pass's row type; what is kept is what the kernels read, so
// recomputed rows have the bits of kept ones.
#include <algorithm>
#include <cstring>

#include "base/phases.h"
#include "kernels/conv1d.h"
#include "kernels/conv1d_backward.h"
#include "kernels/gated_norm.h"
#include "kernels/rounding.h"
#include "kernels/ssd.h"
#include "kernels/ssd_backward.h"
#include "kernels/ssm_scan.h"
#include "kernels/time_step_backward.h"
#include "model/mamba2.h"
#include "model/mamba2_slices.h"

namespace planish {
namespace {

// Scratch for [rows, width] elements of `type`.
void* TakeRows(Workspace* workspace, DType type, size_t rows, size_t width) {
  return workspace->Take((BytesOf(type, rows * width) + sizeof(float) - 1) / sizeof(float));
}
float* TakeZeros(Workspace* workspace, size_t n) {
  float* zeros = workspace->Take(n);
  std::fill_n(zeros, n, 0.0f);
  return zeros;
}
void* RowsAt(void* rows, DType type, size_t elements) {
  return static_cast<std::byte*>(rows) + BytesOf(type, elements);
}
const void* RowsAt(const void* rows, DType type, size_t elements) {
  return static_cast<const std::byte*>(rows) + BytesOf(type, elements);
}
void AddTo(const float* x, size_t n, float* sum) {
  for (size_t i = 0; i < n && sum != nullptr; ++i) sum[i] += x[i];
}

}  // namespace

// Rows of one slice. Of zxbc, the convolution also reads the W-1 rows in front where a document continues.
struct Mamba2::SliceRows {
  void* zxbc;     // [count, d_in + conv_dim]
  float* dt_raw;  // [count, H]
  void* xbc;      // [count, conv_dim]
  float* dt;      // [count, H]
  void* y;        // [count, d_in]
};

// Sums of all slices, and what a slice hands to the one before it.
struct Mamba2Gradients {
  float *A, *D, *dt_bias;        // [H]
  float *conv_taps, *conv_bias;  // [W, conv_dim], [conv_dim]
  float* norm;                   // [d_in]
  float* state;                  // [H, N, P]
  float *g_behind, *g_front;     // [W-1, conv_dim]
};

// zxbc and dt_raw: a part of z | x | B | C | dt that in_proj gives.
void Mamba2::TakeProjected(const ProductBlock& part, const SliceRows& rows, size_t zxbc_width,
                           size_t H, DType type) {
  const size_t end = part.column + part.columns;
  const size_t zxbc = std::min(end, zxbc_width) - std::min(part.column, zxbc_width);
  RoundColumns(part.values, part.stride, part.rows, zxbc, type,
               RowsAt(rows.zxbc, type, part.row * zxbc_width + part.column), zxbc_width);
  if (end <= zxbc_width) return;
  const size_t begin = std::max(part.column, zxbc_width);
  RoundColumns(part.values + zxbc, part.stride, part.rows, end - begin, DType::kF32,
               rows.dt_raw + part.row * H + begin - zxbc_width, H);
}

// xbc, dt, y. initial, final_state: [H, N, P], of the first and after the last piece where documents go on; may be null.
void Mamba2::ConvAndScan(const Pass& pass, const Mamba2Slice& slice, const SliceRows& rows,
                         const float* initial, float* final_state) const {
  const SsmLayer layer = Layer();
  const DType type = pass.row_type();
  const size_t H = mamba_.n_heads, d_in = layer.d_in(), conv_dim = layer.conv_dim();
  const size_t width = d_in + conv_dim;
  std::vector<ConvJob> convs;
  std::vector<SsdJob> scans;
  for (const Mamba2Piece& piece : slice.pieces) {
    void* xbc = RowsAt(rows.xbc, type, piece.begin * conv_dim);
    convs.push_back({.type = type,
                     .x = RowsAt(rows.zxbc, type, piece.begin * width + d_in),
                     .x_stride = width,
                     .before = std::min(piece.offset, mamba_.conv_kernel - 1),
                     .T = piece.count,
                     .out = xbc,
                     .out_stride = conv_dim});
    scans.push_back({.input = {.type = type,
                               .xbc = xbc,
                               .stride = conv_dim,
                               .dt = rows.dt + piece.begin * H,
                               .dt_stride = H,
                               .A = layer.A,
                               .D = layer.D},
                     .T = piece.count,
                     .initial_state = piece.offset > 0 ? initial : nullptr,
                     .final_state = piece.is_last ? nullptr : final_state,
                     .y = RowsAt(rows.y, type, piece.begin * d_in),
                     .y_stride = d_in,
                     .chunk_states = nullptr});
  }
  {
    const PhaseScope conv(Phase::kConv);
    CausalConv1d({conv_dim, layer.conv_width}, layer.conv_taps, layer.conv_bias, convs);
  }
  const PhaseScope scan(Phase::kScan);
  PrepareDt(rows.dt_raw, H, layer.dt_bias, slice.count, H, layer.dt_low, layer.dt_high, rows.dt);
  SsdChunkScan(layer.dims, mamba_.chunk_size, scans);
}

void Mamba2::Forward(const Pass& pass, const float* x, float* y,
                     std::unique_ptr<Saved>* saved) const {
  Workspace* workspace = pass.workspace;
  const Workspace::Scope scope(*workspace);
  const SsmLayer layer = Layer();
  const DType type = pass.row_type();
  const size_t T = pass.tokens(), H = mamba_.n_heads, d_in = layer.d_in(),
               conv_dim = layer.conv_dim(), zxbc_width = d_in + conv_dim, D = hidden_size_,
               front = mamba_.conv_kernel - 1;
  const auto slices =
      CutSlices(pass.layout, mamba_.chunk_size, Mamba2SliceTokens(layer.in_width()));
  size_t most = 0, cuts = 0;
  for (const Mamba2Slice& slice : slices) {
    most = std::max(most, slice.count);
    cuts += slice.is_continued() ? 1 : 0;
  }
  std::unique_ptr<Mamba2Saved> kept;
  const bool keeps_all = saved != nullptr && !pass.selective;
  if (saved != nullptr) {
    kept = std::make_unique<Mamba2Saved>();
    kept->zxbc = Tensor(type, {T, zxbc_width});
    kept->dt_raw = Tensor::F32({T, H});
    kept->states = Tensor::F32({cuts, H, mamba_.state_size, mamba_.head_dim});
    if (keeps_all) {
      kept->xbc = Tensor(type, {T, conv_dim});
      kept->y = Tensor(type, {T, d_in});
    }
  }
  // What is not kept lies in scratch of one slice, zxbc behind room for the convolution's window.
  SliceRows own{};
  if (kept == nullptr) {
    own.zxbc =
        RowsAt(TakeRows(workspace, type, front + most, zxbc_width), type, front * zxbc_width);
    own.dt_raw = workspace->Take(most * H);
  }
  if (!keeps_all) {
    own.xbc = TakeRows(workspace, type, most, conv_dim);
    own.y = TakeRows(workspace, type, most, d_in);
  }
  own.dt = workspace->Take(most * H);
  void* normed = TakeRows(workspace, type, most, d_in);
  float* own_state = kept == nullptr ? workspace->Take(layer.dims.StateSize()) : nullptr;

  for (const Mamba2Slice& slice : slices) {
    SliceRows rows = own;
    if (kept != nullptr) {
      rows.zxbc = RowsAt(kept->zxbc.data(), type, slice.begin * zxbc_width);
      rows.dt_raw = kept->dt_raw.f32() + slice.begin * H;
    }
    if (keeps_all) {
      rows.xbc = RowsAt(kept->xbc.data(), type, slice.begin * conv_dim);
      rows.y = RowsAt(kept->y.data(), type, slice.begin * d_in);
    }
    {
      const PhaseScope matmul(Phase::kMatMulMamba);
      in_proj_.ForwardTo(pass, slice.count, x + slice.begin * D, [&](const ProductBlock& part) {
        TakeProjected(part, rows, zxbc_width, H, type);
      });
    }
    float *initial = own_state, *final_state = own_state;
    if (kept != nullptr) {
      const size_t next = slice.cut + (slice.continues() ? 1 : 0);
      initial = kept->states.f32() + slice.cut * layer.dims.StateSize();
      final_state = kept->states.f32() + next * layer.dims.StateSize();
    }
    ConvAndScan(pass, slice, rows, initial, slice.is_continued() ? final_state : nullptr);
    {
      const PhaseScope norm(Phase::kNorm);
      GatedNormForward({d_in, mamba_.n_groups, layer.norm, layer.norm_eps}, type, {rows.y, d_in},
                       {rows.zxbc, zxbc_width}, slice.count, normed);
    }
    if (kept == nullptr && slice.is_continued()) {
      // The window moves in front of the next slice's rows.
      const size_t bytes = BytesOf(type, front * zxbc_width);
      auto* begin = static_cast<std::byte*>(own.zxbc);
      std::memmove(begin - bytes, begin + BytesOf(type, slice.count * zxbc_width) - bytes, bytes);
    }
    const PhaseScope matmul(Phase::kMatMulMamba);
    out_proj_.Forward(pass, slice.count, {normed, type}, y + slice.begin * D);
  }
  if (saved != nullptr) *saved = std::move(kept);
}

void Mamba2::Backward(const Pass& pass, const float* x, const Saved& saved, const float* dy,
                      float* dx) const {
  const auto& kept = static_cast<const Mamba2Saved&>(saved);
  Workspace* workspace = pass.workspace;
  const Workspace::Scope scope(*workspace);
  const SsmLayer layer = Layer();
  const DType type = pass.row_type();
  const size_t H = mamba_.n_heads, d_in = layer.d_in(), conv_dim = layer.conv_dim(),
               D = hidden_size_, window = (mamba_.conv_kernel - 1) * conv_dim;
  const auto slices =
      CutSlices(pass.layout, mamba_.chunk_size, Mamba2SliceTokens(layer.in_width()));
  const bool has_all = kept.y.data() != nullptr;
  size_t most = 0;
  for (const Mamba2Slice& slice : slices) most = std::max(most, slice.count);
  Mamba2Gradients gradients{.A = TakeZeros(workspace, H),
                            .D = TakeZeros(workspace, H),
                            .dt_bias = TakeZeros(workspace, H),
                            .conv_taps = TakeZeros(workspace, mamba_.conv_kernel * conv_dim),
                            .conv_bias = TakeZeros(workspace, conv_dim),
                            .norm = TakeZeros(workspace, d_in),
                            .state = workspace->Take(layer.dims.StateSize()),
                            .g_behind = workspace->Take(window),
                            .g_front = workspace->Take(window)};
  SliceRows own{};
  own.dt = workspace->Take(most * H);
  if (!has_all) {
    own.xbc = TakeRows(workspace, type, most, conv_dim);
    own.y = TakeRows(workspace, type, most, d_in);
  }
  for (size_t i = slices.size(); i-- > 0;) {
    const Mamba2Slice& slice = slices[i];
    // Kept rows are only read.
    const auto rows_of = [&](const Tensor& tensor, size_t width) {
      return const_cast<void*>(
          RowsAt(static_cast<const void*>(tensor.data()), tensor.dtype(), slice.begin * width));
    };
    SliceRows rows = own;
    rows.zxbc = rows_of(kept.zxbc, d_in + conv_dim);
    rows.dt_raw = static_cast<float*>(rows_of(kept.dt_raw, H));
    const float* initial = kept.states.f32() + slice.cut * layer.dims.StateSize();
    if (has_all) {
      const PhaseScope scan(Phase::kScan);
      rows.xbc = rows_of(kept.xbc, conv_dim);
      rows.y = rows_of(kept.y, d_in);
      PrepareDt(rows.dt_raw, H, layer.dt_bias, slice.count, H, layer.dt_low, layer.dt_high,
                rows.dt);
    } else {
      ConvAndScan(pass, slice, rows, initial, nullptr);
    }
    BackwardSlice(pass, slice, rows, x + slice.begin * D, dy + slice.begin * D, initial, &gradients,
                  dx + slice.begin * D);
  }
  AddGradients(gradients);
}

// x, dy, dx: rows of the slice.
void Mamba2::BackwardSlice(const Pass& pass, const Mamba2Slice& slice, const SliceRows& rows,
                           const float* x, const float* dy, const float* initial,
                           Mamba2Gradients* gradients, float* dx) const {
  Workspace* workspace = pass.workspace;
  const Workspace::Scope scope(*workspace);
  const SsmLayer layer = Layer();
  const DType type = pass.row_type();
  const size_t T = slice.count, H = mamba_.n_heads, d_in = layer.d_in(),
               conv_dim = layer.conv_dim(), width = layer.in_width();
  void* dzxbcdt = TakeRows(workspace, type, T, width);
  float* dcore = workspace->Take(T * d_in);  // first of the norm's output
  {
    const Workspace::Scope inner(*workspace);
    void* normed = TakeRows(workspace, type, T, d_in);
    {
      const PhaseScope matmul(Phase::kMatMulMamba);
      out_proj_.BackwardInput(pass, T, dy, dcore);
    }
    {
      const PhaseScope norm(Phase::kNorm);
      GatedNormBackward({d_in, mamba_.n_groups, layer.norm, layer.norm_eps}, type, {rows.y, d_in},
                        {rows.zxbc, d_in + conv_dim}, T, dcore, normed, dzxbcdt, width,
                        gradients->norm);
    }
    const PhaseScope matmul(Phase::kMatMulMamba);
    out_proj_.BackwardWeight(pass, T, {normed, type}, dy);
  }
  float* dxbc = workspace->Take(T * conv_dim);
  float* ddt = workspace->Take(T * H);
  std::vector<SsdBackwardJob> scans;
  std::vector<ConvBackwardJob> convs;
  for (const Mamba2Piece& piece : slice.pieces) {
    const size_t t = piece.begin;
    scans.push_back({.input = {.type = type,
                               .xbc = RowsAt(rows.xbc, type, t * conv_dim),
                               .stride = conv_dim,
                               .dt = rows.dt + t * H,
                               .dt_stride = H,
                               .A = layer.A,
                               .D = layer.D},
                     .T = piece.count,
                     .initial_state = piece.offset > 0 ? initial : nullptr,
                     .chunk_states = nullptr,
                     .dy = dcore + t * d_in,
                     .dy_stride = d_in,
                     .dfinal = piece.is_last ? nullptr : gradients->state,
                     .dinitial = piece.offset > 0 ? gradients->state : nullptr,
                     .dxbc = dxbc + t * conv_dim,
                     .dxbc_stride = conv_dim,
                     .ddt = ddt + t * H,
                     .ddt_stride = H});
    convs.push_back({.type = type,
                     .x = RowsAt(rows.zxbc, type, t * (d_in + conv_dim) + d_in),
                     .x_stride = d_in + conv_dim,
                     .before = std::min(piece.offset, mamba_.conv_kernel - 1),
                     .T = piece.count,
                     .dout = dxbc + t * conv_dim,
                     .dout_stride = conv_dim,
                     .g_behind = piece.is_last ? nullptr : gradients->g_behind,
                     .g_front = piece.offset > 0 ? gradients->g_front : nullptr,
                     .dx = RowsAt(dzxbcdt, type, t * width + d_in),
                     .dx_stride = width});
  }
  {
    const PhaseScope scan(Phase::kScan);
    SsdChunkScanBackward(layer.dims, mamba_.chunk_size, scans, gradients->A, gradients->D);
    PrepareDtBackward({.raw = rows.dt_raw,
                       .raw_stride = H,
                       .bias = layer.dt_bias,
                       .dt = rows.dt,
                       .lo = layer.dt_low,
                       .hi = layer.dt_high,
                       .ddt = ddt,
                       .type = type,
                       .draw = RowsAt(dzxbcdt, type, d_in + conv_dim),
                       .draw_stride = width},
                      T, H, gradients->dt_bias);
  }
  {
    const PhaseScope conv(Phase::kConv);
    CausalConv1dBackward({conv_dim, layer.conv_width}, layer.conv_taps, layer.conv_bias, convs,
                         gradients->conv_taps, gradients->conv_bias);
    std::swap(gradients->g_behind, gradients->g_front);
  }
  const PhaseScope matmul(Phase::kMatMulMamba);
  in_proj_.BackwardWeight(pass, T, x, {dzxbcdt, type});
  in_proj_.BackwardInput(pass, T, {dzxbcdt, type}, dx);
}

void Mamba2::AddGradients(const Mamba2Gradients& gradients) const {
  const size_t H = mamba_.n_heads, conv_dim = mamba_.conv_dim(), W = mamba_.conv_kernel;
  for (size_t h = 0; h < H && d_a_log_ != nullptr; ++h)
    d_a_log_[h] += a_.f32()[h] * gradients.A[h];  // A = -exp(A_log)
  AddTo(gradients.D, H, d_d_);
  AddTo(gradients.dt_bias, H, d_dt_bias_);
  AddTo(gradients.conv_bias, conv_dim, d_conv_bias_);
  AddTo(gradients.norm, mamba_.inner(), d_norm_);
  for (size_t c = 0; c < conv_dim && d_conv_weight_ != nullptr; ++c) {
    for (size_t k = 0; k < W; ++k)
      d_conv_weight_[c * W + k] += gradients.conv_taps[k * conv_dim + c];
  }
}

}  // namespace planish
