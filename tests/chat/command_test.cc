// The bytes of commands and decrees, and what content is acceptable (command.h, CLI.md).

#include "chat/command.h"

#include <gtest/gtest.h>

#include "paxos/coding.h"
#include "tests/chat/fixture.h"

namespace chat::test {
namespace {

std::vector<Command> samples() {
  return {open_command(0x1122334455667788), post({{7}, 3}, 1, "x"),
          post({{1'000'000'000'000}, 4095}, UINT64_MAX, std::string(limits::text_bytes_max, 'y'),
               std::string(limits::room_bytes_max, 'r'), UINT64_MAX),
          close_command({{7}, 0}, 300)};
}

TEST(CommandBytes, ReadBackAsTheyWereWritten) {
  for (const Command& c : samples()) {
    const auto back = decode_command(encode(c).span());
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(*back, c);
    EXPECT_LE(encode(c).size(), limits::command_bytes_max);
  }
}

TEST(CommandBytes, CutShortOrWithBytesToSpareAreRefused) {
  for (const Command& c : {samples()[0], samples()[1], samples()[3]}) {
    const std::string bytes(encode(c).view());
    for (std::size_t size = 0; size < bytes.size(); ++size)
      EXPECT_FALSE(decode_command(paxos::Bytes::copy_of(bytes.substr(0, size)).span())) << size;
    EXPECT_FALSE(decode_command(paxos::Bytes::copy_of(bytes + "x").span()));
  }
}

TEST(CommandBytes, OfAnotherVersionOrOperationAreRefusedByName) {
  std::string bytes(encode(samples()[3]).view());
  bytes[0] = 9;
  EXPECT_NE(decode_command(paxos::Bytes::copy_of(bytes).span()).error().find("version 9"), std::string::npos);
  bytes[0] = 1;
  bytes.back() = 77;
  EXPECT_NE(decode_command(paxos::Bytes::copy_of(bytes).span()).error().find("unknown number"),
            std::string::npos);
}

TEST(CommandBytes, ThatDecodeAreTheOnlyOnesOfTheirCommand) {
  // Flip every bit: whatever still decodes encodes to the very same bytes, so that one content has one hash.
  for (const Command& c : {samples()[0], samples()[1], samples()[3]}) {
    const std::string bytes(encode(c).view());
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::string flipped = bytes;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
      const auto back = decode_command(paxos::Bytes::copy_of(flipped).span());
      if (back) EXPECT_EQ(encode(*back).view(), flipped);
    }
  }
}

TEST(Decree, CarriesItsCommandsAndStamp) {
  const paxos::Decree d = decree(-5, samples());
  const auto batch = decode_batch(d);
  ASSERT_TRUE(batch) << batch.error();
  EXPECT_EQ(batch->time_ms, -5);
  EXPECT_EQ(batch->commands, samples());
}

TEST(Decree, NeverExceedsWhatWasReckoned) {
  std::vector<paxos::Bytes> commands;
  std::size_t bytes = 0;
  for (std::uint64_t i = 0; i < 300; ++i) {
    commands.push_back(encode(post({{1}, 0}, i + 1, std::string(1 + i * 7 % 300, 'x'))));
    bytes += commands.back().size();
    EXPECT_LE(make_decree(1, commands).value.size(), decree_bytes(commands.size(), bytes));
  }
}

TEST(Decree, WithMoreCommandsThanItHoldsIsRefusedWithoutTakingMemory) {
  std::string bytes(1, '\1');
  bytes.append(8, '\0');
  paxos::ByteWriter(bytes).varint(limits::commands_per_decree_max + 1);
  EXPECT_FALSE(decode_batch({paxos::DecreeKind::commands, paxos::Bytes::copy_of(bytes)}));
  bytes.resize(9);
  paxos::ByteWriter(bytes).varint(limits::commands_per_decree_max);
  EXPECT_FALSE(decode_batch({paxos::DecreeKind::commands, paxos::Bytes::copy_of(bytes)}));
}

TEST(Text, IsStrictUtf8) {
  using namespace std::string_literals;
  for (const std::string& good :
       {"a"s, "é"s, "\xE2\x82\xAC"s, "\xF0\x9F\x91\x8B"s, "\xED\x9F\xBF"s, "\xEE\x80\x80"s,
        "\xF4\x8F\xBF\xBF"s, "tab\tline\nbell\a\x7f"s, "\xC2\x85"s, std::string(16384, 'x'),
        "eight by"
        "tes and é at the end"s}) {
    EXPECT_EQ(validate_text(good), "") << good;
  }
  for (const std::string& bad :
       {"\x80"s, "\xC0\x80"s, "\xC1\xBF"s, "\xE0\x80\x80"s, "\xE0\x9F\xBF"s, "\xED\xA0\x80"s, "\xED\xBF\xBF"s,
        "\xF0\x80\x80\x80"s, "\xF0\x8F\xBF\xBF"s, "\xF4\x90\x80\x80"s, "\xF5\x80\x80\x80"s, "\xFF"s, "\xC3"s,
        "\xE2\x82"s, "\xF0\x9F\x91"s, "ends with \xC3"s, "eight bytes then \xFF more text"s}) {
    EXPECT_NE(validate_text(bad).find("UTF-8"), std::string::npos);
  }
}

// Every string of up to two bytes, and every lead byte with every second byte: against the table of the
// standard (Unicode 15, table 3-7).
TEST(Text, AgreesWithTheStandardsTable) {
  const auto well_formed = [](const std::string& s) {
    const auto b = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
    for (std::size_t i = 0; i < s.size();) {
      const auto in = [&](std::size_t k, unsigned low, unsigned high) {
        return i + k < s.size() && b(i + k) >= low && b(i + k) <= high;
      };
      const unsigned c = b(i);
      if (c <= 0x7f)
        i += 1;
      else if (c >= 0xc2 && c <= 0xdf && in(1, 0x80, 0xbf))
        i += 2;
      else if (c == 0xe0 && in(1, 0xa0, 0xbf) && in(2, 0x80, 0xbf))
        i += 3;
      else if (((c >= 0xe1 && c <= 0xec) || c == 0xee || c == 0xef) && in(1, 0x80, 0xbf) && in(2, 0x80, 0xbf))
        i += 3;
      else if (c == 0xed && in(1, 0x80, 0x9f) && in(2, 0x80, 0xbf))
        i += 3;
      else if (c == 0xf0 && in(1, 0x90, 0xbf) && in(2, 0x80, 0xbf) && in(3, 0x80, 0xbf))
        i += 4;
      else if (c >= 0xf1 && c <= 0xf3 && in(1, 0x80, 0xbf) && in(2, 0x80, 0xbf) && in(3, 0x80, 0xbf))
        i += 4;
      else if (c == 0xf4 && in(1, 0x80, 0x8f) && in(2, 0x80, 0xbf) && in(3, 0x80, 0xbf))
        i += 4;
      else
        return false;
    }
    return s.find('\0') == std::string::npos;
  };
  for (unsigned first = 0; first < 256; ++first) {
    for (unsigned second = 0; second < 256; ++second) {
      for (const std::string& tail : {std::string(), std::string("\x80"), std::string("\x80\xBF"),
                                      std::string("plain text to the end")}) {
        std::string text{static_cast<char>(first), static_cast<char>(second)};
        text += tail;
        ASSERT_EQ(validate_text(text).empty(), well_formed(text)) << first << " " << second << " " << tail;
      }
    }
  }
}

TEST(Text, IsOneByteTo16KiBWithoutNul) {
  EXPECT_NE(validate_text("").find("empty"), std::string::npos);
  EXPECT_NE(validate_text(std::string(limits::text_bytes_max + 1, 'x')).find("16384"), std::string::npos);
  for (std::size_t at = 0; at < 20; ++at) {
    std::string text(20, 'x');
    text[at] = '\0';
    EXPECT_NE(validate_text(text).find("NUL"), std::string::npos) << at;
  }
}

TEST(RoomName, HasOneTo64BytesWithoutControlCharacters) {
  EXPECT_EQ(validate_room("Bücher & ops"), "");
  EXPECT_EQ(validate_room("\xC2\xA9 ops"), "") << "above the controls of U+0080 to U+009F";
  EXPECT_EQ(validate_room(std::string(limits::room_bytes_max, 'r')), "");
  EXPECT_NE(validate_room(""), "");
  EXPECT_NE(validate_room(std::string(limits::room_bytes_max + 1, 'r')), "");
  for (const char* bad :
       {"a\nb", "\x1b[31m", "del\x7f", "next line\xC2\x85", "tab\t", "long enough\x7f room"})
    EXPECT_NE(validate_room(bad).find("control"), std::string::npos) << bad;
}

TEST(Name, MayBeEmpty) {
  EXPECT_EQ(validate_name(""), "");
  EXPECT_NE(validate_name("a\x1b"), "");
}

TEST(CommandContent, IsRefusedWhereItMakesNoSense) {
  EXPECT_EQ(validate(post({{1}, 0}, 1, "x"), 2), "");
  EXPECT_NE(validate(post({}, 1, "x"), 2), "");
  EXPECT_NE(validate(post({{1}, 0}, 0, "x"), 2), "");
  EXPECT_NE(validate(post({{1}, 0}, 1, "x", "ops", 2), 2), "");
  EXPECT_NE(validate(post({{1}, 0}, 1, "x", ""), 2), "");
  Command open = open_command(1);
  EXPECT_EQ(validate(open, 2), "");
  open.session = {{1}, 0};
  EXPECT_NE(validate(open, 2), "");
  open = open_command(1);
  open.seq = 1;
  EXPECT_NE(validate(open, 2), "");
  EXPECT_EQ(validate(close_command({{1}, 0}, 1), 2), "");
  Command named = post({{1}, 0}, 1, "x");
  std::get<Post>(named.operation).name = "a\x1b";
  EXPECT_NE(validate(named, 2).find("the name"), std::string::npos);
}

TEST(SessionName, ReadsBackAndTakesNothingElse) {
  const SessionId id{{812}, 7};
  EXPECT_EQ(to_string(id), "812.7");
  EXPECT_EQ(parse_session("812.7"), id);
  for (const char* bad : {"", ".", "1.", ".1", "1", "1.2.3", " 1.2", "1.2 ", "-1.2", "1.4294967296", "a.b"})
    EXPECT_FALSE(parse_session(bad)) << bad;
}

TEST(Decree, WithACommandOfAnotherVersionNamesTheCommand) {
  std::string bytes(encode(close_command({{7}, 0}, 1)).view());
  bytes[0] = 9;
  const paxos::Decree d = make_decree(1, std::vector{encode(open_command(1)), paxos::Bytes::copy_of(bytes)});
  const auto batch = decode_batch(d);
  ASSERT_FALSE(batch);
  EXPECT_NE(batch.error().find("command 1 of the batch"), std::string::npos) << batch.error();
}

TEST(Decree, OfRulesIsTwoBytesAndNothingElse) {
  EXPECT_EQ(rules_in(make_rules_decree(7)), 7);
  EXPECT_FALSE(rules_in(paxos::Decree{}));
  for (const char* bytes : {"", "x", "xyz"})
    EXPECT_FALSE(rules_in({paxos::DecreeKind::rules, paxos::Bytes::copy_of(bytes)})) << bytes;
}

}  // namespace
}  // namespace chat::test
