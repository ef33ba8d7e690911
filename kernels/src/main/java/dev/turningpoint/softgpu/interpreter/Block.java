package dev.turningpoint.softgpu.interpreter;

/** One block as it runs. */
public final class Block {
    final Launch launch;
    /** Linear index in the grid and its three coordinates. */
    long index;
    int x, y, z;
    final Warp[] warps;
    /** Machine address of the block's shared memory, and its bytes (static and dynamic). */
    long sharedAddress;
    /** Bytes of local memory of a lane; lanes follow one another. */
    long localStride;
    final long sharedBytes;

    Block(Launch launch, long sharedBytes) {
        this.launch = launch;
        this.sharedBytes = sharedBytes;
        warps = new Warp[launch.warps()];
    }

    public Launch launch() { return launch; }
    public long index() { return index; }
    public int x() { return x; }
    public int y() { return y; }
    public int z() { return z; }
    public int warps() { return warps.length; }
    public Warp warp(int i) { return warps[i]; }
    public long sharedAddress() { return sharedAddress; }
    public long sharedBytes() { return sharedBytes; }
}
