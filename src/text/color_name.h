// SPDX-License-Identifier: Apache-2.0
// Colours by name: the 148 named colours of CSS, and how far two colours are apart for the eye (CIEDE2000; Sharma, Wu, Dalal,
// "The CIEDE2000 color-difference formula", Color Research and Application 30(1), 2005).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace planish {

struct NamedColor {
  std::string_view name;
  uint32_t rgb;  // 0xRRGGBB
};
std::span<const NamedColor> CssColors();  // by name

struct Lab {
  double l, a, b;
};
Lab LabOf(uint32_t rgb);  // sRGB under D65
double Ciede2000(const Lab& x, const Lab& y);

// "#rgb", "#rrggbb" or the same without '#'; nothing if it is neither.
std::optional<uint32_t> ParseHexColor(std::string_view text);

struct ColorMatch {
  const NamedColor* color;
  double distance;  // CIEDE2000; below about 1 the eye sees no difference
};
// The `count` nearest named colours, nearest first; of equal ones the first by name.
std::vector<ColorMatch> NearestColors(uint32_t rgb, size_t count);

}  // namespace planish
