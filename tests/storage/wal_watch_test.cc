#include <gtest/gtest.h>

#include <thread>

#include "storage/wal_files.h"

/// Who is told that a log record is on disk, and when. Source: storage/wal_files.h.
namespace storage {
namespace {

struct Watched {
  WalWatch watch;
  int told = 0;
  int one = 0, two = 0;  // files
  Watched() {
    for (const int* file : {&one, &two}) {
      watch.appended(file);
      watch.synced(file, true);
    }
  }
  void arm() {
    watch.arm([this] { ++told; });
  }
};

TEST(WalWatch, TellsOnceWhenWhatWasAppendedIsSynced) {
  Watched w;
  w.arm();
  w.watch.synced(&w.one, false);
  EXPECT_EQ(w.told, 0) << "nothing was appended since";
  w.watch.appended(&w.one);
  EXPECT_EQ(w.told, 0);
  w.watch.synced(&w.one, false);
  EXPECT_EQ(w.told, 1);
  w.watch.appended(&w.one);
  w.watch.synced(&w.one, false);
  EXPECT_EQ(w.told, 1);
  EXPECT_TRUE(w.watch.disarm());
}

TEST(WalWatch, WaitsForEveryFile) {
  Watched w;
  w.arm();
  w.watch.appended(&w.one);
  w.watch.appended(&w.two);
  w.watch.synced(&w.two, false);
  EXPECT_EQ(w.told, 0);
  w.watch.synced(&w.one, false);
  EXPECT_EQ(w.told, 1);
}

// RocksDB syncs the folder after the first sync of a new file: a power cut before that loses its name.
TEST(WalWatch, TheFirstSyncOfAFileTellsNobody) {
  Watched w;
  const int fresh = 0;
  w.arm();
  w.watch.appended(&fresh);
  w.watch.synced(&fresh, true);
  w.watch.synced(&w.one, false);
  EXPECT_EQ(w.told, 0);
  EXPECT_FALSE(w.watch.disarm());
  w.arm();
  w.watch.appended(&fresh);
  w.watch.synced(&fresh, false);
  EXPECT_EQ(w.told, 1);
}

TEST(WalWatch, WhatAnotherThreadSyncsTellsNobody) {
  Watched w;
  w.arm();
  std::thread([&] {
    w.watch.appended(&w.one);
    w.watch.synced(&w.one, false);
  }).join();
  EXPECT_EQ(w.told, 0);
  EXPECT_FALSE(w.watch.disarm());
}

TEST(WalWatch, DisarmedItTellsNobody) {
  Watched w;
  w.arm();
  EXPECT_FALSE(w.watch.disarm());
  w.watch.appended(&w.one);
  w.watch.synced(&w.one, false);
  EXPECT_EQ(w.told, 0);
}

}  // namespace
}  // namespace storage
