"""What a file may be for, by OpenAI's names."""

BATCH = "batch"
BATCH_OUTPUT = "batch_output"
UPLOADED = (BATCH, "vision", "user_data")  # what a client may choose
PURPOSES = (*UPLOADED, BATCH_OUTPUT)
