package dev.turningpoint.softgpu.interpreter;

/** One instruction made ready to run: what it does to the registers of a warp. */
interface Operation {
    /** @param lanes those that execute it; the others' registers stay */
    void run(Warp warp, int lanes);
}
