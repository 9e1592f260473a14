import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's tools one after the other in one JVM, for a JVM's start costs more than most of them.
 *
 * Reads from standard input: the number of words, then each word and what the tool is to read, with their lengths.
 * The first word is a class with a main. Writes: the exit code, then what the tool wrote to its standard output and to
 * its standard error, with their lengths.
 */
public final class Driver {
    /** What a tool's exit becomes; an Error, so that no tool takes it for a failure of its own. */
    private static final class Exited extends Error {
        Exited() {
            super("exit", null, false, false);
        }
    }

    private static Integer exitCode;
    private static final List<Runnable> AT_THE_END = new ArrayList<>();

    private static void exit(int code) {
        // A tool that catches everything exits a second time.
        synchronized (AT_THE_END) {
            if (exitCode == null) {
                exitCode = code;
            }
        }
        throw new Exited();
    }

    public static void main(String[] args) throws Exception {
        var in = new DataInputStream(new FileInputStream(FileDescriptor.in));
        var out = new DataOutputStream(new FileOutputStream(FileDescriptor.out));
        // The same streams for all of them: Scala's keep those that they found at first.
        var standardOut = new ByteArrayOutputStream();
        var standardError = new ByteArrayOutputStream();
        System.setOut(new PrintStream(standardOut, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(standardError, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> exit(code));
        Exit.setHaltProcedure((code, message) -> exit(code));
        Exit.setShutdownHookAdder((name, hook) -> AT_THE_END.add(hook));
        while (true) {
            String[] words;
            try {
                words = new String[in.readInt()];
            } catch (EOFException e) {
                return;
            }
            for (int i = 0; i < words.length; i++) {
                words[i] = new String(bytes(in), StandardCharsets.UTF_8);
            }
            System.setIn(new ByteArrayInputStream(bytes(in)));
            standardOut.reset();
            standardError.reset();
            int code = run(words);
            System.out.flush();
            System.err.flush();
            out.writeInt(code);
            for (var written : List.of(standardOut, standardError)) {
                out.writeInt(written.size());
                written.writeTo(out);
            }
            out.flush();
        }
    }

    private static byte[] bytes(DataInputStream in) throws Exception {
        var bytes = new byte[in.readInt()];
        in.readFully(bytes);
        return bytes;
    }

    private static int run(String[] words) throws Exception {
        exitCode = null;
        AT_THE_END.clear();
        int code = 0;
        var arguments = new String[words.length - 1];
        System.arraycopy(words, 1, arguments, 0, arguments.length);
        try {
            Class.forName(words[0]).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Exited)) {
                e.getCause().printStackTrace();
                code = 1;
            }
        }
        for (var hook : AT_THE_END) {
            hook.run();
        }
        return exitCode == null ? code : exitCode;
    }
}
