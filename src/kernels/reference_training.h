// SPDX-License-Identifier: Apache-2.0
// Gradients of the kernels of a Mamba-2 mixer as their formulas say, in double, token by token; see reference.h. They are checked
// themselves against central differences of the forward reference.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/ssd.h"  // SsmDims

namespace planish::reference {

double SiluDerivative(double a);

struct SsmScanGradient {
  std::vector<double> dx;      // [T, H*P]
  std::vector<double> dB, dC;  // [T, G*N]
  std::vector<double>
      direct;              // [T, H]: x . d(dt x), the part of ddt that comes by way of the input
  std::vector<double> da;  // [T, H]: gradient of the logarithm of the decay, a = dt A
  std::vector<double> dD;  // [H]
  std::vector<double> dinitial;  // [H, N, P]
  // ddt = direct + A da,  dA = sum dt da.
};
// Arguments as of SsmScan; initial: [H, N, P]; dfinal: gradient of the final state.
SsmScanGradient SsmScanBackward(const SsmDims& dims, const double* x, const double* B,
                                const double* C, const double* dt, const double* A, const double* D,
                                size_t T, const double* initial, const double* dy,
                                const double* dfinal);

struct ConvGradient {
  std::vector<double> dx;        // [T, C]
  std::vector<double> dhistory;  // [W-1, C]
  std::vector<double> dw;        // [W, C]
  std::vector<double> db;        // [C]
};
// Arguments as of CausalConv1d.
ConvGradient CausalConv1dBackward(const double* x, const double* history, const double* w,
                                  const double* bias, size_t T, size_t C, size_t W,
                                  const double* dout);

struct GatedNormGradient {
  std::vector<double> dy, dz;  // [T, d_in]
  std::vector<double> dw;      // [d_in]
};
GatedNormGradient GatedGroupRmsNormBackward(const double* y, const double* z, const double* w,
                                            size_t T, size_t d_in, size_t groups, double eps,
                                            const double* dn);

}  // namespace planish::reference
