// SPDX-License-Identifier: Apache-2.0
// The name that git gives to a file's content: SHA-1 over "blob SIZE\0" and the content. Hubs name small files by it. It
// finds damage; it is no defence against a forger.
#pragma once

#include <string>

namespace planish {

std::string GitBlobHexOfFile(const std::string& path);  // 40 lower-case digits

}  // namespace planish
