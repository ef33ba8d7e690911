package dev.turningpoint.embed;

import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import jdk.jfr.Timespan;

/** The worker took calls from the queue to run them together. */
@Name("dev.turningpoint.BatchFormed")
@Label("Batch formed")
@Category("TurningPoint")
@StackTrace(false)
final class BatchFormed extends Event {
    private static final BatchFormed PROBE = new BatchFormed();

    @Label("Session") String session;
    @Label("Calls") int calls;
    @Label("Rows") int rows;
    @Label("Longest wait of a call") @Timespan long longestWait;

    static void commit(Session session, int calls, int rows, long longestWait) {
        if (!PROBE.isEnabled()) return;
        var event = new BatchFormed();
        event.session = session.toString();
        event.calls = calls;
        event.rows = rows;
        event.longestWait = longestWait;
        event.commit();
    }
}
