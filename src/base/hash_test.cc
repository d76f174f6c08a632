// SPDX-License-Identifier: Apache-2.0
// SHA-256 against the examples of FIPS 180-4 and its NIST test vectors.
#include "base/hash.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"

namespace planish {
namespace {

TEST(Sha256, GivesTheKnownDigests) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256Hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const testing::TemporaryDir folder;
  for (const std::string& text : {std::string(), std::string("abc"), std::string(1'000'000, 'a')}) {
    WriteFile(folder / "a", text);
    EXPECT_EQ(Sha256HexOfFile(folder / "a"), Sha256Hex(text));
  }
  EXPECT_THROW(Sha256HexOfFile(folder / "none"), Error);
}

}  // namespace
}  // namespace planish
