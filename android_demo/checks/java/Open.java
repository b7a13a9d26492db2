import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.spartanc.core.Bundle;
import org.spartanc.core.FolderSource;
import org.spartanc.core.InputException;

/**
 * Opens what a line of standard input names: a bundle's folder, or a fleet's folder, a tab and a task's file. Answers a line
 * each: `taken`, or `refused`, a tab and the message. No program is loaded.
 */
public final class Open {
  private Open() {}

  public static void main(String[] arguments) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = lines.readLine()) != null; ) {
      String[] paths = line.split("\t");
      try {
        Bundle bundle = Bundle.open(new FolderSource(new File(paths[0])), null);
        if (paths.length > 1) bundle.task(new File(paths[1]));
        System.out.println("taken");
      } catch (InputException e) {
        System.out.println("refused\t" + e.getMessage().replaceAll("\\s", " "));
      }
    }
  }
}
