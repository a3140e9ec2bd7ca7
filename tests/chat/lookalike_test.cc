#include "chat/lookalike.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>

namespace chat::test {
namespace {

std::string utf8(char32_t point) {
  std::string out;
  const auto byte = [&](char32_t value) { out += static_cast<char>(value); };
  if (point < 0x80) {
    byte(point);
    return out;
  }
  const int tails = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  static constexpr char32_t leads[] = {0, 0xc0, 0xe0, 0xf0};
  byte(leads[tails] | point >> (6 * tails));
  for (int i = tails - 1; i >= 0; --i) byte(0x80 | (point >> (6 * i) & 0x3f));
  return out;
}

/// Each code point that Unicode 15.0 assigns, those that it keeps for what nobody sees, and some of the
/// others.
template <class Look>
void for_every_code_point(Look&& look) {
  const auto range = [&](char32_t first, char32_t last, char32_t step) {
    for (char32_t point = first; point <= last; point += step)
      if (point < 0xd800 || point >= 0xe000) look(point, utf8(point));
  };
  range(0, 0x323ff, 1);
  range(0x32400, 0xdffff, 1001);
  range(0xe0000, 0xe1000, 1);
  range(0xe1001, 0x10ffff, 1001);
}

std::string name_of(char32_t point) {
  char name[16];
  std::snprintf(name, sizeof name, "U+%04X", static_cast<unsigned>(point));
  return name;
}

bool look_alike(std::string_view one, std::string_view two) {
  const LookalikeKeys a = lookalike_keys(one);
  const LookalikeKeys b = lookalike_keys(two);
  return a.folded == b.folded || a.folded == b.shape || a.shape == b.folded || a.shape == b.shape;
}

std::string shown(std::string_view name) {
  const LookalikeKeys keys = lookalike_keys(name);
  return std::string(name) + ": folded '" + keys.folded + "', shape '" + keys.shape + "'";
}

void expect_alike(std::initializer_list<std::string_view> names) {
  for (const auto one : names)
    for (const auto two : names) EXPECT_TRUE(look_alike(one, two)) << shown(one) << "\n" << shown(two);
}

void expect_apart(std::initializer_list<std::string_view> names) {
  for (const auto* one = names.begin(); one != names.end(); ++one)
    for (const auto* two = names.begin(); two != one; ++two)
      EXPECT_FALSE(look_alike(*one, *two)) << shown(*one) << "\n" << shown(*two);
}

TEST(Lookalike, CaseWidthScriptAndWhatNobodySeesMakeNoOtherName) {
  expect_alike({"Ann", "ann", "ANN", "ａｎｎ", "ＡＮＮ", "аnn", "Аnn", "a\u200bnn", "ann\ufeff", "\u00adann",
                "a\u034fnn", "𝐀𝐧𝐧", "𝓪𝓷𝓷", "ⓐⓝⓝ", "ann\ufe0f", "\u2066ann\u2069", "ann\U000e0041",
                "\ufff9ann"});
  expect_alike({"Straße", "STRASSE", "strasse", "STRAẞE"});
  expect_alike({"Σίσυφος", "ΣΊΣΥΦΟΣ", "σίσυφοσ"});
  expect_alike({"ᾳ", "αι", "ΑΙ", "ᾼ"});
  expect_alike({"Ꭰ", "ꭰ"});
  EXPECT_EQ(lookalike_keys("ANN").folded, "ann");
  EXPECT_EQ(lookalike_keys("ANN").shape, "ann");
}

TEST(Lookalike, LettersOfOneShapeMakeNoOtherName) {
  expect_alike({"bill", "biIl", "bi1l", "bi|l", "biⅼl", "bіll"});
  expect_alike({"BILL", "bill"});
  expect_alike({"modern", "modem", "MODEM", "Modern"});
  expect_alike({"bob", "b0b", "BOB", "bоb", "bοb", "BΟB", "b\u0585b"});
  expect_alike({"I0", "iO"});
  expect_alike({"carl", "ϲarl", "сarl"});
  expect_alike({"foo", "ſoo"});
  expect_alike({"paypal", "раураl", "PayPaI"});
  expect_alike({"O'Neil", "O´Neil", "O`Neil", "O’Neil", "o‘neil"});
  expect_alike({"a-b", "a‐b", "a–b", "a−b"});
  expect_alike({"50%", "5O%"});
}

TEST(Lookalike, OtherNamesStayOtherNames) {
  expect_apart({"ali", "all", "alo", "a1a", "al", "allo"});
  expect_apart({"ann", "anna", "anne", "an n", "änn", "ann2", "ann.", "bnn"});
  expect_apart({"bill", "bil", "ball", "b"});
  expect_apart({"müller", "muller", "mueller"});
  expect_apart({"анна", "инна", "山田", "山由", "김철수", "김철우", "محمد", "أحمد", "👩", "👨", "🤖"});
}

TEST(Lookalike, CapitalsMayBeAlikeToTwo) {
  // Folded it is the one, and by its shape the other.
  expect_alike({"ALI", "ali"});
  expect_alike({"ALI", "all"});
}

TEST(Lookalike, HowItIsComposedMakesNoOtherName) {
  expect_alike({"é", "e\u0301", "É", "E\u0301"});
  expect_alike({"ǖ", "ü\u0304", "u\u0308\u0304"});
  expect_alike({"각", "\u1100\u1161\u11a8"});
  expect_alike({"가", "\u1100\u1161"});
  expect_alike({"힣", "\u1112\u1175\u11c2"});
  expect_alike({"ﬁn", "fin", "FIN"});
  // Their order neither, even of marks that canonical ordering leaves where they are.
  expect_alike({"a\u0323\u0301", "a\u0301\u0323", "ạ\u0301", "á\u0323"});
  expect_alike({"a\u0301\u0302", "a\u0302\u0301"});
  expect_alike({"ᾴ", "α\u0301\u0345", "α\u0345\u0301"});
  expect_alike({"\U0001d158\U0001d165\U0001d16d", "\U0001d158\U0001d16d\U0001d165"});
}

TEST(Lookalike, ADotOnAnIIsNoOther) {
  expect_alike({"bill", "bi\u0307ll", "bı\u0307ll", "bıll"});
  expect_alike({"bi\u0323ll", "bi\u0307\u0323ll", "bi\u0323\u0307ll"});
  expect_alike({"İsmail", "ismail", "ısmail"});
  expect_apart({"i\u0308", "i", "i \u0307", "a\u0307"});
}

TEST(Lookalike, BlanksAreOneSpaceAndNoneAtTheEnds) {
  expect_alike({"Ann Lee", "ann  lee", " ann lee ", "ann\u00a0lee", "ann\u3000lee", "ann\u2003\u2009lee",
                "ann\u2800lee", "\u2028ann\u1680lee\u202f"});
  expect_apart({"annlee", "ann lee"});
  for (const std::string_view nothing :
       {"", " ", "   ", "\u200b", "\u3000 \u2800", "\u3164", "\u200d\ufe0f"}) {
    EXPECT_EQ(lookalike_keys(nothing).folded, "");
    EXPECT_EQ(lookalike_keys(nothing).shape, "");
  }
}

TEST(Lookalike, WhatIsNoUtf8IsNoCrash) {
  EXPECT_EQ(lookalike_keys("a\xff").folded, "a\ufffd");
  EXPECT_EQ(lookalike_keys("\xf0\x9f\x98").shape, "\ufffd\ufffd\ufffd");
  EXPECT_EQ(lookalike_keys("\xed\xa0\x80").shape, "\ufffd\ufffd\ufffd");
}

/// The fast path gives what the tables give: a character of three bytes that is dropped leads around it.
TEST(Lookalike, AsciiIsNoException) {
  for (char one = 0x20; one < 0x7f; ++one)
    for (char two = 0x20; two < 0x7f; ++two) {
      const std::string name{one, two, ' ', one};
      const LookalikeKeys fast = lookalike_keys(name);
      const LookalikeKeys slow = lookalike_keys(name + "\u200b");
      ASSERT_EQ(fast.folded, slow.folded) << name;
      ASSERT_EQ(fast.shape, slow.shape) << name;
    }
}

TEST(Lookalike, EveryKeyIsItsOwnKey) {
  for_every_code_point([](char32_t point, const std::string& text) {
    // Alone, and where there is something to join.
    for (const std::string& name : {text, "i\u0301" + text + "\u0307\u0323 " + text}) {
      const LookalikeKeys keys = lookalike_keys(name);
      for (const std::string& key : {keys.folded, keys.shape}) {
        const LookalikeKeys again = lookalike_keys(key);
        ASSERT_EQ(again.folded, key) << name_of(point);
        ASSERT_EQ(again.shape, key) << name_of(point);
      }
    }
  });
}

TEST(Lookalike, NoKeyIsLongerThanItMayBe) {
  std::string longest;
  std::size_t most = 0;  // bytes of a key for a hundred of the name
  for_every_code_point([&](char32_t point, const std::string& text) {
    const LookalikeKeys keys = lookalike_keys(text);
    const std::size_t bytes = std::max(keys.folded.size(), keys.shape.size());
    ASSERT_LE(bytes, text.size() * lookalike_growth_max) << name_of(point);
    if (bytes * 100 / text.size() <= most) return;
    most = bytes * 100 / text.size();
    longest = text;
  });
  EXPECT_GT(most, 100 * (lookalike_growth_max - 1)) << "the bound could be lower";
  std::string name;
  while (name.size() + longest.size() <= 64) name += longest;
  const LookalikeKeys keys = lookalike_keys(name);
  EXPECT_LE(std::max(keys.folded.size(), keys.shape.size()), name.size() * lookalike_growth_max);
}

/// What replicas agree on. Another hash is another rule (chat/versions.h), whatever the reason.
TEST(Lookalike, TheTablesNeverChange) {
  XXH3_state_t* state = XXH3_createState();
  XXH3_64bits_reset(state);
  const auto add = [&](const std::string& key) { XXH3_64bits_update(state, key.c_str(), key.size() + 1); };
  for_every_code_point([&](char32_t, const std::string& text) {
    for (const std::string& name : {text, "\u0327" + text + "\u0345\u0301"}) {
      const LookalikeKeys keys = lookalike_keys(name);
      add(keys.folded);
      add(keys.shape);
    }
  });
  EXPECT_EQ(XXH3_64bits_digest(state), 0xa72acbbdca8ad0fe);
  XXH3_freeState(state);
}

}  // namespace
}  // namespace chat::test
