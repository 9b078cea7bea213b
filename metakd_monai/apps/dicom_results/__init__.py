"""Results as DICOM in the study of their sources: a segmentation, a structured report, the picture.

:func:`metakd_monai.apps.dicom_results.write_objects.write_results` writes all three. It needs highdicom, of the
extra ``dicom``.
"""
