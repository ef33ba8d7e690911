package dev.turningpoint.softgpu.interpreter;

/** Looks on while a device interprets its launches: a mode of the device, such as one that checks or one that counts. Thread safe. */
public interface Watch {
    /** A launch is about to run. Those of different streams overlap. */
    Watched begins(Launch launch);

    /** One launch being looked at. */
    interface Watched {
        /** For one more thread of the device that runs blocks of the launch; called at most once a thread, by that thread. */
        Observer observer();

        /**
         * All blocks have ended and no thread touches its observer any more.
         *
         * @param fault what ended the launch early, or null
         * @throws KernelFault to end a launch in failure that would have ended well
         */
        void ends(KernelFault fault);
    }
}
