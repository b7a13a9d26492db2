package org.spartanc.demo;

import android.app.Activity;
import android.os.Bundle;
import android.text.InputFilter;
import android.view.View;
import android.widget.AdapterView;
import android.widget.ArrayAdapter;
import android.widget.Button;
import android.widget.EditText;
import android.widget.Spinner;
import android.widget.TextView;
import java.util.Collections;
import java.util.List;

/** One screen: a task, a text, its label with scores, and what it took. */
public final class MainActivity extends Activity implements Worker.Listener {
  /** Characters; a longer text would not survive turning the phone, for its state would be too large to keep. */
  private static final int LONGEST_TEXT = 100_000;

  private Worker worker;
  private Spinner tasks;
  private Button classify;
  private TextView result;
  private TextView figures;
  private List<String> shownTasks = Collections.emptyList();

  @Override
  protected void onCreate(Bundle state) {
    super.onCreate(state);
    setContentView(R.layout.main);
    worker = ((DemoApplication) getApplication()).worker();
    tasks = findViewById(R.id.tasks);
    classify = findViewById(R.id.classify);
    result = findViewById(R.id.result);
    figures = findViewById(R.id.figures);
    EditText text = findViewById(R.id.text);
    EditText second = findViewById(R.id.second);
    InputFilter[] limit = {new InputFilter.LengthFilter(LONGEST_TEXT)};
    text.setFilters(limit);
    second.setFilters(limit);
    classify.setOnClickListener(view -> worker.classify(text.getText().toString(), second.getText().toString()));
    tasks.setOnItemSelectedListener(new AdapterView.OnItemSelectedListener() {
      @Override
      public void onItemSelected(AdapterView<?> parent, View view, int position, long id) {
        worker.choose(shownTasks.get(position));
      }

      @Override
      public void onNothingSelected(AdapterView<?> parent) {}
    });
  }

  @Override
  protected void onStart() {
    super.onStart();
    worker.listen(this);
  }

  @Override
  protected void onStop() {
    worker.listen(null);
    super.onStop();
  }

  @Override
  public void changed() {
    if (!shownTasks.equals(worker.tasks())) {
      shownTasks = worker.tasks();
      ArrayAdapter<String> adapter = new ArrayAdapter<>(this, android.R.layout.simple_spinner_item, shownTasks);
      adapter.setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item);
      tasks.setAdapter(adapter);
    }
    int chosen = shownTasks.indexOf(worker.task());
    if (chosen >= 0 && chosen != tasks.getSelectedItemPosition()) tasks.setSelection(chosen);
    classify.setEnabled(worker.isReady());
    result.setText(worker.result());
    figures.setText(worker.figures());
  }
}
