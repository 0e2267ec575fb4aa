"""What a user would have instead: a stock TRL script that saves now and then, and goes on from its newest checkpoint when it
is started again: python bare.py MODEL ROWS FOLDER EPOCHS SAVE_STEPS

Prints "step N" once a step is done. One thread's worth of options is the same as in the chaos trainings; the loss is
TRL's own.
"""

import sys
from pathlib import Path

import transformers
from datasets import load_dataset
from peft import LoraConfig
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

model, rows, folder, epochs, save_steps = sys.argv[1:]
transformers.utils.logging.disable_progress_bar()


class Tell(TrainerCallback):
    """Says that a step is done."""

    def on_step_end(self, args, state, control, **kwargs):
        print("step", state.global_step, flush=True)


trainer = SFTTrainer(
    model,
    SFTConfig(
        output_dir=folder, num_train_epochs=float(epochs), per_device_train_batch_size=2, learning_rate=1e-3, max_length=64,
        save_steps=int(save_steps), save_total_limit=2, seed=7, report_to=[], disable_tqdm=True, logging_strategy="no",
        use_cpu=True, dataloader_pin_memory=False, gradient_checkpointing=False,
    ),
    train_dataset=load_dataset("json", data_files=rows, split="train", cache_dir=str(Path(folder) / "cache")),
    peft_config=LoraConfig(r=8, lora_alpha=8, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"),
    callbacks=[Tell()],
)
trainer.train(resume_from_checkpoint=get_last_checkpoint(folder) if Path(folder).is_dir() else None)
