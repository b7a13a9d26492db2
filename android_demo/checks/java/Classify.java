import java.io.BufferedWriter;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.spartanc.core.Catalog;
import org.spartanc.core.FolderSource;
import org.spartanc.core.InputException;
import org.spartanc.core.Json;
import org.spartanc.core.Prediction;
import org.spartanc.demo.ExecuTorchProgram;

/**
 * Classify BUNDLES SCRATCH TEXTS OUT: every text (a line each, a JSON list of 1 or 2) by every task of every bundle below
 * BUNDLES; where tasks share a program, text by text, going from task to task as the app does.
 *
 * <p>A line of OUT is the task's name, then label and probability of every class, apart by tabs. Says how often a program
 * was loaded, and on what machine.
 */
public final class Classify {
  private static int loaded;

  private Classify() {}

  public static void main(String[] arguments) throws Exception {
    Opener.openRuntime();
    List<List<?>> rows = new ArrayList<>();
    for (String line : Files.readAllLines(Paths.get(arguments[2]), StandardCharsets.UTF_8)) {
      rows.add((List<?>) Json.parse(line, "a line of texts"));
    }
    FolderSource bundles = new FolderSource(new File(arguments[0]));
    try (BufferedWriter out = Files.newBufferedWriter(Paths.get(arguments[3]), StandardCharsets.UTF_8);
        Catalog catalog = new Catalog(bundles, new File(arguments[1]), null, Classify::load)) {
      for (List<String> tasks : byBundle(catalog.tasks()).values()) {
        String current = null;
        for (List<?> row : rows) {
          for (String task : tasks) {
            if (!task.equals(current)) catalog.choose(task);
            current = task;
            out.write(task);
            String second = row.size() > 1 ? (String) row.get(1) : null;
            for (Prediction.Score score : catalog.classify((String) row.get(0), second).scores) {
              out.write("\t" + score.label + "\t" + score.probability);
            }
            out.write("\n");
          }
        }
      }
    }
    System.out.println(loaded);
    System.out.println(System.getProperty("os.arch"));
  }

  private static ExecuTorchProgram load(File file) throws InputException {
    loaded++;
    return ExecuTorchProgram.load(file);
  }

  private static Map<String, List<String>> byBundle(List<String> tasks) {
    Map<String, List<String>> result = new TreeMap<>();
    for (String task : tasks) {
      String bundle = task.split("/")[0];
      if (!result.containsKey(bundle)) result.put(bundle, new ArrayList<String>());
      result.get(bundle).add(task);
    }
    return result;
  }
}
