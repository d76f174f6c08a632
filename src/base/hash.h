// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace planish {

std::string Sha256Hex(std::string_view bytes);  // 64 lower-case digits
std::string Sha256HexOfFile(const std::string& path);

}  // namespace planish
