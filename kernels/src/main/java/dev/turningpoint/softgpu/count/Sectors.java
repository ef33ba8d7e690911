package dev.turningpoint.softgpu.count;

/**
 * Which 32-byte sectors of global memory have been read and written, in the launch and in the block at hand. A hash table of pages of 64 sectors, with a bit
 * a sector.
 */
final class Sectors {
    private static final int PAGE = 11;   // 64 sectors of 32 bytes

    private long[] pages = new long[256];        // page number + 1; 0 is empty
    private long[] read = new long[256], written = new long[256], blockRead = new long[256], blockWritten = new long[256];
    private int[] block = new int[256];          // in which block the block's bits were set
    private int count, current;

    /** Sectors that blocks read and wrote, each once a block. */
    long readByBlocks, writtenByBlocks;

    /** The next block begins: it has touched nothing. */
    void nextBlock() { current++; }

    void read(long sector) {
        int i = slot(sector >>> 6);
        long bit = 1L << sector;
        read[i] |= bit;
        if ((blockRead[i] & bit) == 0) {
            blockRead[i] |= bit;
            readByBlocks++;
        }
    }

    void write(long sector) {
        int i = slot(sector >>> 6);
        long bit = 1L << sector;
        written[i] |= bit;
        if ((blockWritten[i] & bit) == 0) {
            blockWritten[i] |= bit;
            writtenByBlocks++;
        }
    }

    private int slot(long page) {
        int i = find(page);
        if (pages[i] == 0) {
            if (4 * ++count > 3 * pages.length) {
                grow();
                i = find(page);
            }
            pages[i] = page + 1;
        }
        if (block[i] != current) {
            block[i] = current;
            blockRead[i] = blockWritten[i] = 0;
        }
        return i;
    }

    private int find(long page) {
        int mask = pages.length - 1, i = (int) (page * 0x9e3779b97f4a7c15L >>> 40) & mask;
        while (pages[i] != 0 && pages[i] != page + 1) i = i + 1 & mask;
        return i;
    }

    private void grow() {
        long[] oldPages = pages, oldRead = read, oldWritten = written, oldBlockRead = blockRead, oldBlockWritten = blockWritten;
        int[] oldBlock = block;
        int size = 2 * pages.length;
        pages = new long[size];
        read = new long[size];
        written = new long[size];
        blockRead = new long[size];
        blockWritten = new long[size];
        block = new int[size];
        for (int o = 0; o < oldPages.length; o++) {
            if (oldPages[o] == 0) continue;
            int i = find(oldPages[o] - 1);
            pages[i] = oldPages[o];
            read[i] = oldRead[o];
            written[i] = oldWritten[o];
            blockRead[i] = oldBlockRead[o];
            blockWritten[i] = oldBlockWritten[o];
            block[i] = oldBlock[o];
        }
    }

    /** What another thread of the device touched in the same launch. */
    void add(Sectors o) {
        for (int j = 0; j < o.pages.length; j++) {
            if (o.pages[j] == 0) continue;
            int i = slot(o.pages[j] - 1);
            read[i] |= o.read[j];
            written[i] |= o.written[j];
        }
        readByBlocks += o.readByBlocks;
        writtenByBlocks += o.writtenByBlocks;
    }

    long distinctRead() { return bits(read); }

    long distinctWritten() { return bits(written); }

    private static long bits(long[] sets) {
        long n = 0;
        for (long s : sets) n += Long.bitCount(s);
        return n;
    }
}
